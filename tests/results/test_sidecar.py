from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as Invalid
from msgspec.structs import replace

from ktstr.checks.judge import Expected, judge
from ktstr.checks.thresholds import merge
from ktstr.config.model import PayloadDecl
from ktstr.errors import InputError
from ktstr.files import parse_json
from ktstr.record import sidecar_schema
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.guest import PayloadEvent, PayloadLog, WorkerReport
from ktstr.record.machine import Origin, PerformanceMode
from ktstr.record.sidecar import Sidecar
from ktstr.results import names
from ktstr.results import sidecar as sc
from tests.checks.reports import S, end, kvm_run, worker
from tests.results.cells import IDENTITY, WORKS, cell, document, sidecar

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/sidecar.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
# Spec stats 1.2, in its order, without the one key that is left out when it is absent.
KEYS = [
    "test_name", "topology", "scheduler", "scheduler_commit", "resolve_source", "project_commit", "payload", "metrics",
    "passed", "skipped", "inconclusive", "expected_failure", "stats", "monitor", "periodic_fired", "periodic_target",
    "vcpus", "cpu_budget", "throughput_denomination", "stimulus_events", "work_type", "verifier_stats", "kvm_stats",
    "sysctls", "kargs", "kernel_version", "kernel_commit", "timestamp", "run_id", "host", "cleanup_duration_ms",
    "run_source", "perf_delta_assertions",
]  # fmt: skip


def built(*workers: WorkerReport, **checks: Any) -> dict[str, Any]:
    found = cell()
    found = replace(found, guest=replace(found.guest, workers=workers)) if workers else found
    judgement = judge(found, merge({}, checks), Expected(WORKS, "scx_ktstr", "icount"))
    return document(sc.build(IDENTITY, found, judgement))


def skipped() -> dict[str, Any]:
    skip = sc.build_skip(IDENTITY, "needs 8 CPUs", timestamp="2025-01-02T03:04:05Z", run="20250102T030405Z-1")
    return document(skip)


def written(**changes: Any) -> dict[str, Any]:
    """The document of a measured cell; ``changes`` are to what was read from its file."""
    return {**document(sidecar()), **changes}


def as_file(whole: dict[str, Any]) -> bytes:
    return json.dumps(whole).encode()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_is_that_of_the_types() -> None:
    text = (Path(__file__).parents[2] / "schemas/sidecar.schema.json").read_text()
    assert text == sidecar_schema.render(), "python -m ktstr.record.sidecar_schema > schemas/sidecar.schema.json"


@pytest.mark.parametrize("whole", [written(), skipped(), built(worker(0, work_units=0)), built(max_gap_ms=1)])
def test_what_is_written_is_valid(whole: dict[str, Any]) -> None:
    VALIDATOR.validate(whole)
    assert decode(Sidecar, whole)


def test_every_key_is_always_there_in_order() -> None:
    assert list(written())[: len(KEYS)] == KEYS
    assert list(skipped()) == list(written())
    assert sorted(SCHEMA["required"]) == sorted(written())


def test_a_measured_cell_says_what_it_is_and_how_it_was_measured() -> None:
    found = written()
    assert (found["passed"], found["skipped"], found["inconclusive"]) == (True, False, False)
    assert (found["accel"], found["seed"], found["cpu_budget"], found["vcpus"]) == ("icount", 7, 1, 4)
    assert (found["kernel_version"], found["emulator"]) == ("7.2.0-cloud", "QEMU 10.0.2")
    assert (found["timestamp"], found["run_id"]) == ("2025-01-02T03:04:05Z", "20250102T030405Z-0")
    assert (found["project_commit"], found["measured_commit"]) == ("abc1234", "1234567")
    assert found["input_digest"] == "ab" * 32
    assert (found["monitor"], found["kvm_stats"], found["payload"], found["reasons"]) == (None, None, None, [])
    assert [e["label"] for e in found["stimulus_events"]] == ["ScenarioStart", "StepStart[0]", "StepEnd[0]"]
    assert found["perturbations"]["start_offsets_ns"] == [5, 0]
    assert [w["index"] for w in found["workers"]] == [0, 1]
    assert found["vcpu_times"][1] == {"cpu": 1, "run_ns": S, "run_delay_ns": 6_000_000, "timeslices": 101}
    assert found["stats"]["phases"][0]["per_cgroup"]["cg_0"]["wake_sample_total"] == 11


def test_what_loading_cost_is_told_and_null_where_it_was_not_seen() -> None:
    assert written()["load_ns"] == 1  # from 1 to 2
    assert skipped()["load_ns"] is None
    found = cell()
    never = replace(found, guest=replace(found.guest, sched_events=found.guest.sched_events[:1]))
    judgement = judge(never, merge({}, {}), Expected(WORKS, "scx_ktstr", "icount"))
    assert document(sc.build(IDENTITY, never, judgement))["load_ns"] is None


def test_a_fail_has_no_bit_and_carries_its_reason() -> None:
    found = built(worker(0), worker(1, max_gap_ns=4 * S, max_gap_off_cpu_ns=4 * S))
    assert (found["passed"], found["skipped"], found["inconclusive"]) == (False, False, False)
    (reason,) = found["reasons"]
    message = reason.pop("message")
    assert reason == {
        "verdict": "fail", "kind": "Stuck", "cgroup": "cg_0", "worker": 1, "value": 4000.0, "limit": 3000,
    }  # fmt: skip
    assert "4000.000 ms > limit 3000 ms (default)" in message


def test_what_payloads_printed_and_how_they_ended_is_kept() -> None:
    found = cell()
    events = (PayloadEvent(1, 3, "started", 0), PayloadEvent(2, 3, "signaled", 9))
    log = PayloadLog(3, '{"iops": 12.5, "huge": 1e999}', "stdout")
    found = replace(found, guest=replace(found.guest, payload_events=events, payload_logs=(log,)))
    declared = PayloadDecl("bench", Path("bench"), output="json", exit_code=None)
    expected = Expected(WORKS, "scx_ktstr", "icount", payloads={3: declared})
    whole = document(
        sc.build(dataclasses.replace(IDENTITY, payload="bench"), found, judge(found, merge({}, {}), expected))
    )
    VALIDATOR.validate(whole)
    (metric,) = whole["metrics"][0].pop("metrics")
    assert whole["metrics"] == [{"payload_index": 3, "exit_code": -1, "name": "bench"}]
    assert (metric["name"], metric["value"], whole["payload"]) == ("iops", 12.5, "bench")


def test_a_skip_booted_nothing() -> None:
    found = skipped()
    assert (found["passed"], found["skipped"], found["vcpus"], found["cpu_budget"]) == (False, True, 0, 0)
    assert (found["work_type"], found["emulator"], found["input_digest"]) == ("PipeIo", None, None)
    assert found["reasons"][0]["message"] == "needs 8 CPUs"


def test_an_error_has_no_sidecar() -> None:
    lost = cell(end=end("host_timeout"))
    with pytest.raises(ValueError, match="no sidecar"):
        sc.build(IDENTITY, lost, judge(lost, merge({}, {}), Expected(WORKS, None, "icount")))


def test_non_finite_numbers_are_dropped_from_metrics_and_null_elsewhere() -> None:
    found = cell()
    judgement = judge(found, merge({}, {}), Expected(WORKS, "scx_ktstr", "icount"))
    assert judgement.stats is not None
    stats = replace(judgement.stats, worst_spread=float("nan"), ext_metrics={"a": float("inf"), "b": 1.0})
    whole = document(sc.build(IDENTITY, found, dataclasses.replace(judgement, stats=stats)))
    assert whole["stats"]["worst_spread"] is None and whole["stats"]["ext_metrics"] == {"b": 1.0}
    VALIDATOR.validate(whole)


def test_host_dilation_is_left_out_unless_measured() -> None:
    assert "host_dilation" not in written()
    found = cell(end=replace(end(), host_dilation=1.25))
    judgement = judge(found, merge({}, {}), Expected(WORKS, "scx_ktstr", "kvm"))
    whole = document(sc.build(IDENTITY, found, judgement))
    assert whole["host_dilation"] == 1.25
    VALIDATOR.validate(whole)


PERFORMANCE = {
    "pin": [4, 5], "memory_nodes": [[0]], "service_cpu": 0, "fifo_priority": 1, "realtime_hint": True,
    "keep_pause": True, "keep_halt": True, "huge_pages": False, "populate": True,
}  # fmt: skip


def on_kvm(**changes: Any) -> Sidecar:
    kvm = kvm_run(
        500,
        600,
        budget=1,
        performance=decode(PerformanceMode, PERFORMANCE),
        warnings=("no huge\x1b[1m pages",),
        **changes,
    )
    found = cell(end=replace(end(), kvm=kvm))
    return sc.build(
        dataclasses.replace(IDENTITY, accel="kvm"),
        found,
        judge(found, merge({}, {}), Expected(WORKS, "scx_ktstr", "kvm")),
    )


def test_a_kvm_run_says_what_it_took_of_its_host() -> None:
    found = document(on_kvm(boot_ms=412.5))
    assert found["kvm_stats"] == {"per_vcpu": [{"exits": 100, "halt_exits": 7}, {"exits": 101, "halt_exits": 7}]}
    assert found["kvm_run"] == {
        "vcpu_threads": [{"run_ns": 2 * S, "run_delay_ns": 500}, {"run_ns": 2 * S, "run_delay_ns": 600}],
        "halt_poll_ns": 200_000, "overcommit": 2.0, "cloned": False, "boot_ms": 412.5, "performance_mode": PERFORMANCE,
        "warnings": ["no huge pages"],
    }  # fmt: skip
    assert found["cpu_budget"] == 1, "what the run had, not what was planned"
    VALIDATOR.validate(found)


def test_only_kvm_has_a_kvm_run() -> None:
    assert (written()["kvm_run"], skipped()["kvm_run"], written()["cpu_budget"]) == (None, None, 1)


def test_what_the_host_of_a_kvm_run_did_is_not_the_guests_doing() -> None:
    assert sc.guest_digest(on_kvm()) == sc.guest_digest(on_kvm(host_wait_ns=(9, 9), cloned=True, boot_ms=1.0))


@pytest.mark.parametrize(
    "change",
    [
        {"cloned": None},
        {"warnings": None},
        {"overcommit": -1},
        {"performance_mode": {**PERFORMANCE, "fifo_priority": 0}},
        {"performance_mode": {"pin": []}},
        {"vcpu_threads": [{"run_ns": 1}]},
        {"more": 1},
    ],
)
def test_the_schema_is_strict_about_a_kvm_run(change: dict[str, Any]) -> None:
    found = document(on_kvm())
    changed = {**found, "kvm_run": {**found["kvm_run"], **change}}
    with pytest.raises(Invalid) as error:
        VALIDATOR.validate(changed)
    assert "kvm_run" in error.value.json_path
    with pytest.raises(DecodeError, match=r"sidecar\.kvm_run"):
        decode(Sidecar, changed, "sidecar")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"passed": True, "skipped": True}, ""),
        ({"extra": 1}, ""),
        ({"vcpus": -1}, "vcpus"),
        ({"vcpus": 1.5}, "vcpus"),
        ({"topology": "2x4"}, "topology"),
        ({"accel": "sim"}, "accel"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"stats": {}}, "stats"),
        ({"host": {"nodename": "x"}}, "host"),
    ],
)
def test_the_schema_is_strict(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Invalid) as error:
        VALIDATOR.validate(written(**change))
    assert where in error.value.json_path
    with pytest.raises(DecodeError) as refused:
        decode(Sidecar, written(**change))
    assert where in str(refused.value)


def test_the_variant_hash_is_the_published_one_and_ignores_what_is_not_the_variant() -> None:
    base = names.CellIdentity("t", "p", "1n1l1c1t", 1, "eevdf", "kvm", 0, "SpinWait", 1)
    assert names.variant_hash(base) == "16b754f538ba41fd"
    assert names.file_name(base) == "t-16b754f538ba41fd.ktstr.json"
    same = dataclasses.replace(base, vcpus=9, cpu_budget=3, seed=5, accel="tcg", project_commit="1", run_source="ci")
    assert names.variant_hash(same) == names.variant_hash(base)
    one, other = (dataclasses.replace(base, kargs=kargs) for kargs in (("b", "a"), ("a", "b")))
    assert names.variant_hash(one) == names.variant_hash(other)
    assert names.variant_hash(dataclasses.replace(base, kargs=("a",))) != names.variant_hash(base)


def test_run_ids_and_sources() -> None:
    assert names.run_id(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), 3) == "20250102T030405Z-3"
    assert [names.run_source(e) for e in ({"KTSTR_CI": "1"}, {"KTSTR_CI": ""}, {})] == ["ci", "local", "local"]


def test_the_guests_identity_ignores_time_host_and_commit_and_nothing_else() -> None:
    base = sidecar()
    other = sidecar(
        timestamp="2031-01-01T00:00:00Z", run_id="20310101T000000Z-9", host=None, cleanup_duration_ms=12,
        project_commit=None, measured_commit=None, run_source="ci", input_digest="cd" * 32,
    )  # fmt: skip
    assert sc.guest_identity(base) == sc.guest_identity(other)
    assert sc.guest_digest(base) == sc.guest_digest(other)
    first, second = base.workers
    changed = replace(base, workers=(first, replace(second, iterations=second.iterations + 1)))
    assert sc.guest_digest(changed) != sc.guest_digest(base)
    assert sc.guest_digest(sidecar(seed=8)) != sc.guest_digest(base)


def test_numbers_stay_on_one_line_and_the_text_is_the_same_document() -> None:
    whole = sidecar(kargs=("[\n 1,\n 2\n]",))
    text = sc.dump(whole).decode()
    assert '"wake_latencies_ns": [1000, 2000, 3000]' in text
    assert json.loads(text) == json.loads(json.dumps(encode(whole)))


def test_a_file_from_disk_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.ktstr.json"
    path.write_bytes(sc.dump(sidecar()))
    assert sc.read_sidecar(path) == sidecar()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no JSON"),
        (b"[]", "expected an object"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "no finite number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b'{"a": 1, "a": 1}', "the key 'a' twice"),
        (b'{"test_name": "x"}', "sidecar.topology: missing field"),
        (as_file(written(vcpus="4")), "sidecar.vcpus: found '4', expected a 64-bit integer"),
        (as_file(written(vcpus=2**64)), "sidecar.vcpus: found 18446744073709551616, expected a 64-bit integer"),
        (as_file(written(stats={**written()["stats"], "total_cpus": None})), "stats.total_cpus"),
        (as_file(written(passed=True, skipped=True)), "found both passed and skipped, expected at most one of"),
        (as_file(written(perturbations={"generator": "x"})), "perturbations.seed: found None, expected int"),
        (
            as_file(written(perturbations={"generator": "x", "seed": 1, "order": 2})),
            "order: found 2, expected an array",
        ),
    ],
)
def test_a_hostile_file_is_refused_with_path_and_field(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "x.ktstr.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        sc.read_sidecar(path)
    assert str(path) in error.value.message and said in error.value.message
    assert len(error.value.message) < 1000


def test_what_is_written_as_we_write_it_is_read_the_quick_way_and_means_the_same() -> None:
    for whole in (sidecar(), sidecar(kargs=('a\\"b": 1', "\u00e9\x1b"), work_type="1e5 -7")):
        data = sc.dump(whole)
        assert sc._parse_quickly(data) == whole == decode(Sidecar, json.loads(data))
    longest = sidecar(seed=2**64 - 1)
    assert sc.parse_sidecar(sc.dump(longest), "x") == longest


@pytest.mark.parametrize(
    ("key", "twice"),
    [
        ("vcpus", b'"vcpus": 4, "vcpus": 4, '),
        ("vcpus", b'"vcpus": 4, "v\\u0063pus": 5, '),
        ("total_cpus", b'"total_cpus": 1, "total_cpus": 4, '),
        ("kind", b'"kind": "cold", "kind": "cold", '),  # of the origin, which another key may be absent from
    ],
)
def test_a_key_that_is_there_twice_is_refused_at_any_depth(key: str, twice: bytes) -> None:
    data = sc.dump(sidecar(origin=Origin()))
    spoilt, changes = re.subn(rb'"%s": ("cold"|[0-9]+),' % key.encode(), lambda _: twice, data, count=1)
    if key == "kind":
        spoilt = re.sub(rb',\s*"why_cold": null', b"", spoilt)
    assert changes == 1
    with pytest.raises(InputError, match="twice in one object"):
        sc.parse_sidecar(spoilt, "x")


def test_other_spellings_of_the_same_document_are_taken() -> None:
    whole = sidecar(kargs=("\u00e9",))
    plain = document(whole)
    spellings = [json.dumps(plain), json.dumps(plain, indent=7), json.dumps(dict(reversed(plain.items())))]
    assert [sc.parse_sidecar(text.encode(), "x") for text in spellings] == [whole] * 3


def test_the_quick_way_takes_nothing_that_the_slow_one_refuses() -> None:
    data = sc.dump(sidecar())
    for place in re.finditer(rb"[0-9.]+|null|true|false", data):
        for other in (b"NaN", b"1e999", b"9" * 25, b"-1", b"[]", b'"x"', b"null", b"1.5"):
            spoilt = data[: place.start()] + other + data[place.end() :]
            quick = sc._parse_quickly(spoilt)
            if quick is not None:
                assert decode(Sidecar, parse_json(spoilt, "x", 1 << 20)) == quick


def test_a_missing_file_and_a_too_large_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="No such file"):
        sc.read_sidecar(tmp_path / "none.ktstr.json")
    path = tmp_path / "x.ktstr.json"
    path.write_bytes(sc.dump(sidecar()))
    monkeypatch.setattr(sc, "SIDECAR_CAP", 100)
    with pytest.raises(InputError, match="more than 100 bytes"):
        sc.read_sidecar(path)


def test_only_ktstr_json_names_are_sidecars() -> None:
    files = ["a-0.ktstr.json", "a.ktstr.json.tmp.1.2", "a.json", "a.ktstr.txt", "b.ktstr.x.json"]
    assert [names.is_sidecar(Path(name)) for name in files] == [True, False, False, False, True]
