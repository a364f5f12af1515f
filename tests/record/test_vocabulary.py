from __future__ import annotations

from typing import get_args

from ktstr.config import scenario_fields
from ktstr.record import vocabulary
from ktstr.record.vocabulary import OPS, POLICIES, RENAMED_WORK_TYPES, WORK_TYPES, WorkParam


def test_the_types_are_those_of_the_tables() -> None:
    assert list(WORK_TYPES) == list(get_args(vocabulary.WorkType))
    assert list(POLICIES) == list(get_args(vocabulary.SchedPolicy))
    assert set(RENAMED_WORK_TYPES.values()) <= set(WORK_TYPES) and vocabulary.DEFAULT_WORK_TYPE in WORK_TYPES


def test_every_work_type_and_op_says_what_it_does() -> None:
    abouts = [facts.about for facts in WORK_TYPES.values()] + [facts.about for facts in OPS.values()]
    assert all(abouts) and len(set(abouts)) == len(abouts)


def test_what_takes_down_makes_nothing() -> None:
    assert [name for name, facts in OPS.items() if facts.takes_down] == [
        "StopScheduler", "StopWorkers", "RemoveCgroups", "Scope", "Kill",
    ]  # fmt: skip
    assert [name for name, facts in OPS.items() if facts.makes] == [
        "StartScheduler", "AddCgroup", "Spawn", "Write", "Run",
    ]  # fmt: skip


def test_work_types_that_block_sample_their_wakes_and_pairs_work_in_pairs() -> None:
    samples = [name for name, facts in WORK_TYPES.items() if facts.samples_wakes]
    assert {"Bursty", "PipeIo", "FutexPingPong", "ForkExit", "FutexFanOut", "TimerLatency"} <= set(samples)
    assert not {"SpinWait", "YieldHeavy", "Mixed", "AluHot", "CachePressure", "SmtSiblingSpin"} & set(samples)
    pairs = {name for name, facts in WORK_TYPES.items() if facts.group_size == 2}
    assert {"PipeIo", "FutexPingPong", "CachePipe", "AsymmetricWaker", "SmtSiblingSpin"} <= pairs
    assert all(facts.group_size == 2 for facts in WORK_TYPES.values() if "PIPES" in facts.flags)


def test_real_time_policies_have_a_priority_and_timesharing_ones_a_nice_value() -> None:
    assert [name for name, facts in POLICIES.items() if facts.has_priority] == ["fifo", "rr"]
    assert [name for name, facts in POLICIES.items() if facts.has_nice] == ["normal", "batch", "ext"]


def test_parameters_have_defaults_within_their_bounds_and_a_key_has_one_unit() -> None:
    params: list[WorkParam] = [param for facts in WORK_TYPES.values() for param in facts.params]
    assert all(param.low <= param.default <= param.high for param in params)
    assert len({(param.key, param.unit) for param in params}) == len({param.key for param in params})
    assert not {param.key for param in params} & {"policy", "priority", "nice", "runtime", "deadline", "period"}
    assert all(param.name.endswith("_ns") is (param.unit == "ns") for param in params)


def test_ktstr_yaml_takes_every_parameter_as_its_unit_says() -> None:
    burst, spin = scenario_fields.WORK["burst"], scenario_fields.WORK["spin_iters"]
    assert burst.kind == "duration" and burst.about.startswith("Bursty: length of a burst (50ms); ")
    assert (spin.kind, spin.high) == ("int", 2**31)
    pipes = scenario_fields.WORK["pipes"]
    assert pipes.kind == "bool" and pipes.about.endswith("(false)")
