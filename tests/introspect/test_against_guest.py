"""What is read of a guest's memory is what the guest's own kernel and bpftool say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ktstr.introspect.bpf import read_programs
from ktstr.introspect.dmesg import read_dmesg
from ktstr.introspect.maps import find_map, read_map, read_maps
from ktstr.introspect.runqueues import read_runqueues, read_sched_domains
from ktstr.introspect.scx import read_dsqs, read_events, read_state
from ktstr.introspect.stacks import read_bpf_symbols, read_running, read_stack
from ktstr.introspect.tasks import read_tasks
from tests.e2e.conftest import ROOT
from tests.introspect.guests import (
    ARRAY,
    BSS,
    HASH,
    PERCPU,
    PROGS,
    RODATA,
    SHOW,
    SYMBOLS,
    VERIFIED,
    Taken,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_programs_are_those_of_bpftool_with_its_counts(taken: Taken) -> None:
    found = read_programs(taken.open())
    told = taken.json(PROGS)
    assert found.error is None
    assert [each.id for each in found.programs] == [each["id"] for each in told]
    for ours, theirs in zip(found.programs, told, strict=True):
        assert ours.name == theirs["name"]
        assert ours.type.lower() == theirs["type"]
        assert ours.tag == theirs["tag"]
        assert ours.jited_len == theirs["bytes_jited"]
        assert list(ours.map_ids) == theirs["map_ids"]
        assert (ours.run_cnt, ours.run_time_ns) == (theirs.get("run_cnt", 0), theirs.get("run_time_ns", 0))
    assert sum(each.run_cnt for each in found.programs) > 100


def test_verified_instructions_are_those_that_the_kernel_tells(taken: Taken) -> None:
    told = {each["id"]: each for each in map(json.loads, taken.said(VERIFIED).splitlines())}
    found = {each.id: each.verified_insns for each in read_programs(taken.open()).programs}
    assert found == {number: each["verified_insns"] for number, each in told.items()}
    assert all(found.values())


def test_a_scheduler_s_programs_are_told_by_the_callback_that_they_are(taken: Taken) -> None:
    found = {each.name: each.callback for each in read_programs(taken.open()).programs}
    names = ("select_cpu", "enqueue", "dispatch", "init", "exit")
    assert {f"ktstr_{name}": name for name in names}.items() <= found.items()


def test_maps_are_those_of_bpftool(taken: Taken) -> None:
    found = read_maps(taken.open())
    assert found.error is None
    assert [
        {
            "id": each.id, "name": each.name, "type": each.type.lower(), "bytes_key": each.key_size,
            "bytes_value": each.value_size, "max_entries": each.max_entries, "frozen": int(each.frozen),
        }
        for each in found.maps
    ] == [
        {key: each[key] for key in ("id", "name", "type", "bytes_key", "bytes_value", "max_entries", "frozen")}
        for each in taken.json(SHOW)
    ]  # fmt: skip


def entries_of(taken: Taken, name: str) -> dict[Any, Any]:
    program = taken.open()
    found = read_map(program, find_map(program, name))
    assert (found.error, found.truncated) == (None, False)
    return {entry.key: entry.value for entry in found.entries or ()}


def number(words: list[str]) -> int:
    """Bytes as bpftool prints them."""
    return int.from_bytes(bytes(int(word, 16) for word in words), "little")


def test_a_hash_has_the_entries_that_bpftool_dumps(taken: Taken) -> None:
    ours = {_number(key): _number(value) for key, value in entries_of(taken, "facts_hash").items()}
    assert ours == {number(each["key"]): number(each["value"]) for each in taken.json(HASH)}
    assert ours == {k: 3 * k + 1 for k in range(300)}


def _number(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


def test_an_array_has_the_elements_that_bpftool_dumps(taken: Taken) -> None:
    ours = {key: _number(value) for key, value in entries_of(taken, "facts_array").items()}
    assert ours == {number(each["key"]): number(each["value"]) for each in taken.json(ARRAY)}
    assert ours == {i: 7 * i for i in range(8)}


def test_a_per_cpu_array_has_a_value_for_each_cpu(taken: Taken) -> None:
    ours = {key: [_number(value) for value in values] for key, values in entries_of(taken, "facts_percpu").items()}
    told = {number(each["key"]): [number(one["value"]) for one in each["values"]] for each in taken.json(PERCPU)}
    assert ours == told == {i: [1000 * i + cpu for cpu in range(4)] for i in range(2)}


@pytest.mark.parametrize(("payload", "name"), [(BSS, ".bss"), (RODATA, ".rodata")])
def test_a_scheduler_s_globals_are_those_that_bpftool_dumps_by_name(taken: Taken, payload: int, name: str) -> None:
    (ours,) = entries_of(taken, name).values()
    (told,) = taken.json(payload)
    variables = {
        key: value for each in told["formatted"]["value"].values() for one in each for key, value in one.items()
    }
    assert set(ours) == set(variables)
    numbers = {key: value for key, value in variables.items() if isinstance(value, int)}
    assert numbers
    assert {key: ours[key] for key in numbers} == numbers


def test_struct_ops_point_to_the_scheduler_s_functions(taken: Taken) -> None:
    ours = entries_of(taken, "ktstr_ops")[None]["data"]
    set_ones = {
        name
        for name, value in ours.items()
        if name != "priv" and str(value) not in ("0x0", "0") and str(value).startswith("0x")
    }
    source = (ROOT / "schedulers/scx_ktstr/scx_ktstr.bpf.c").read_text(encoding="ascii")
    declared = set(re.findall(r"^\t\.(\w+)\s*= \(void \*\)", source, re.MULTILINE))
    assert {"select_cpu", "enqueue", "dispatch", "init", "exit"} <= set_ones <= declared
    assert (ours["name"], ours["timeout_ms"]) == ("ktstr", 2000)


def test_symbols_are_where_the_kernel_says(taken: Taken) -> None:
    lines = [line.split() for line in taken.said(SYMBOLS).splitlines() if "[" not in line]
    assert len(lines) > 300
    symbols = taken.kernel.symbols
    everywhere: dict[str, set[int]] = {}
    for index in range(len(symbols)):
        everywhere.setdefault(symbols.name(index), set()).add(symbols.addresses[index])
    assert [line for line in lines if int(line[0], 16) not in everywhere.get(line[2], ())] == []


def test_the_scheduler_is_seen_as_loaded_and_well(taken: Taken) -> None:
    state = read_state(taken.open(), taken.entry.hz)
    assert (state.error, state.state, state.ops, state.watchdog_timeout_ms) == (None, "enabled", "ktstr", 2000)
    assert state.exit is not None and state.exit.kind == "SCX_EXIT_NONE"


def test_runqueues_add_up(taken: Taken) -> None:
    rows = read_runqueues(taken.open(), taken.entry.hz)
    tasks = read_tasks(taken.open(), taken.entry.hz)
    assert [row.error for row in rows] == [None] * 4
    assert tasks.error is None
    runnable = [task for task in tasks.tasks if task.on_rq]
    assert sum(row.nr_running or 0 for row in rows) == len(runnable)
    running = {task.pid for task in tasks.tasks if task.on_cpu}
    current = {row.curr.pid for row in rows if row.curr is not None and row.curr.pid}
    # A CPU that stands still between two tasks has the next one already, and the last one still.
    assert len(current) == len(running) and len(current - running) <= 1


def test_spinners_run_or_wait_in_the_scheduler_s_queue(taken: Taken) -> None:
    workers = [task for task in read_tasks(taken.open(), taken.entry.hz).tasks if task.comm.startswith("worker/")]
    assert len(workers) == 6
    assert {task.state for task in workers} == {"R"}
    assert all(task.scx and task.allowed == (0, 1, 2, 3) for task in workers)
    queues = {dsq.id: dsq for dsq in read_dsqs(taken.open(), taken.entry.hz).dsqs if dsq.cpu is None}
    waiting = {task.pid for task in workers if not task.on_cpu}
    shared = queues["0x0"]
    assert shared.error is None
    assert shared.nr == len(shared.tasks)
    assert len(waiting - {task.pid for task in shared.tasks}) <= 1  # one that a CPU moves at this moment
    assert all(task.waiting_ms is not None and task.waiting_ms < 1000 for task in workers if not task.on_cpu)


def test_event_counters_are_of_each_cpu(taken: Taken) -> None:
    found = read_events(taken.open())
    assert found.error is None
    assert [each.cpu for each in found.cpus] == [0, 1, 2, 3]
    assert {"select_cpu_fallback", "dispatch_keep_last", "enq_skip_exiting"} <= set(found.cpus[0].events)


def test_scheduling_domains_have_the_topology(taken: Taken) -> None:
    for each in read_sched_domains(taken.open()):
        assert each.error is None
        assert [domain.span_weight for domain in each.domains] == [2, 4]


def test_the_log_is_the_kernel_s(taken: Taken) -> None:
    log = read_dmesg(taken.open())
    assert log.error is None
    assert log.lines[0].text.startswith(f"Linux version {taken.entry.version} ")
    assert log.lines[-1].text == 'sched_ext: BPF scheduler "ktstr" enabled'
    assert [line.seq for line in log.lines] == list(range(len(log.lines)))
    assert [line.text for line in read_dmesg(taken.open(), 3).lines] == [line.text for line in log.lines[-3:]]


def test_a_task_that_sleeps_has_the_stack_of_what_it_waits_for(taken: Taken) -> None:
    program = taken.open()
    (holder,) = (task for task in read_tasks(program, taken.entry.hz).tasks if task.comm == "facts")
    names = [(frame.name or "").split("+")[0] for frame in read_stack(program, int(holder.address, 16)).frames]
    assert names[:2] == ["__schedule", "schedule"]
    assert any("pause" in name for name in names)


def test_what_runs_is_known_by_the_registers(taken: Taken) -> None:
    program = taken.open()
    stacks = read_running(program, taken.registers, read_bpf_symbols(program))
    assert [stack.cpu for stack in stacks] == [0, 1, 2, 3]
    assert [stack.error for stack in stacks] == [None] * 4
    assert all(stack.user_mode or stack.frames for stack in stacks)


def test_bpf_programs_have_their_code_named(taken: Taken) -> None:
    program = taken.open()
    names = read_bpf_symbols(program).names
    tags = {each["name"]: each["tag"] for each in taken.json(PROGS)}
    assert {f"bpf_prog_{tags[name]}_{name}" for name in tags} <= set(names)
