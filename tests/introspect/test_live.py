"""A guest while it runs: reading changes nothing of it, and what is written is what it then has."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.dmesg import read_dmesg
from ktstr.introspect.maps import read_maps
from ktstr.introspect.program import GuestProgram, Unreadable, open_program
from ktstr.introspect.runqueues import read_runqueues, read_sched_domains
from ktstr.introspect.scx import read_dsqs, read_events, read_state
from ktstr.introspect.stacks import read_bpf_symbols, read_running
from ktstr.introspect.tasks import read_tasks
from ktstr.introspect.writes import Refused, Written, watchdog_timeout, write_map, write_variable
from ktstr.record.guest import GuestRecord
from ktstr.scenarios.program import OWN_CGROUP, Hold, Payload, Program, Release, Run, Spawn, StartScheduler, Wait, Work
from ktstr.scenarios.program import Worker as AWorker
from ktstr.vm.machine import Guest
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu import QemuMachine
from tests.e2e.programs import SCHEDULER, S, printed
from tests.introspect.guests import BPFTOOL, READY, Facts, Taken, is_ready

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HZ = 250


def spinning(*after: Run | Wait | Hold, payloads: tuple[Payload, ...] = ()) -> Program:
    """scx_ktstr with six spinners, half a second, and then ``after``."""
    work = Work("SpinWait", OWN_CGROUP, tuple(AWorker() for _ in range(6)))
    ops = (StartScheduler(0, 100 * S), Spawn(0), Release(), Hold(S // 2), *after)
    return Program(0, 400 * S, works=(work,), payloads=(Payload((SCHEDULER,)), *payloads), ops=ops)


def run(facts: Facts, folder: Path, program: Program, look: Callable[[Guest], None] | None) -> bytes:
    """The bytes that a guest sends under counted instructions, looked at at each of its moments."""
    folder.mkdir()
    machine = QemuMachine(facts.guests.tool, "icount", facts.guests.steady)
    spec = replace(facts.spec(program), watched=look is not None)
    with machine.start(spec, folder, 200, Cancel()) as guest:
        if look is not None:
            for _ in guest.moments():
                look(guest)
        result = guest.wait()
    assert result.end.reason == "clean", result.end.detail
    return result.channel.read_bytes()


def everything(program: GuestProgram) -> int:
    """Read all there is; how many things were."""
    return sum(
        map(
            len,
            (
                read_runqueues(program, HZ),
                read_sched_domains(program),
                read_state(program, HZ).ops or "",
                read_events(program).cpus,
                read_dsqs(program, HZ).dsqs,
                read_tasks(program, HZ).tasks,
                read_programs(program).programs,
                read_maps(program).maps,
                read_dmesg(program).lines,
                read_running(program, program.registers, read_bpf_symbols(program)),
            ),
        )
    )


def test_reading_everything_at_each_moment_changes_no_byte_of_the_run(facts: Facts, tmp_path: Path) -> None:
    counts: list[int] = []

    def look(guest: Guest) -> None:
        try:
            counts.append(everything(open_program(guest.memory, facts.kernel, guest.registers())))
        except Unreadable:
            counts.append(0)

    program = spinning()
    read = run(facts, tmp_path / "read", program, look)
    assert read == run(facts, tmp_path / "quiet", program, None)
    assert sum(count > 300 for count in counts) > 5


def test_what_is_written_while_it_runs_the_guest_has_from_then_on(facts: Facts, tmp_path: Path) -> None:
    """The guest dumps the map with bpftool after that, and its kernel keeps the new timeout."""
    written: list[Written] = []
    timeouts: list[int | None] = []

    def look(guest: Guest) -> None:
        if not written and is_ready(guest, facts.kernel):
            program = open_program(guest.memory, facts.kernel)
            written.append(write_variable(program, ".bss", "starved_at_ns", 123456789))
            written.append(watchdog_timeout(program, 7000, HZ))
        elif written:
            state = read_state(open_program(guest.memory, facts.kernel), HZ)
            timeouts.append(state.watchdog_timeout_ms if state.ops else None)

    dump = Payload((*BPFTOOL, "map", "dump", "name", "scx_ktst.bss", "-j"))
    after = (Run(1), Hold(S // 2), Run(2), Wait(2, 20 * S))
    program = spinning(*after, payloads=(Payload((f"/bin/{READY}",)), dump))
    record = _record(run(facts, tmp_path / "run", program, look))
    assert [each.holds for each in written] == [True, True]
    assert (written[1].before, written[1].expected) == (500, 1750)
    (told,) = json.loads(printed(record, 2))
    values = {key: value for each in told["formatted"]["value"][".bss"] for key, value in each.items()}
    assert values["starved_at_ns"] == 123456789
    assert 7000 in timeouts
    assert set(timeouts) <= {7000, None}


def _record(channel: bytes) -> GuestRecord:
    record, error = decode_channel(channel)
    assert error is None
    return record


@pytest.fixture
def program(taken: Taken) -> GuestProgram:
    return taken.open()


def test_numbers_are_written_where_their_names_are(program: GuestProgram) -> None:
    done = write_variable(program, ".bss", "exit_record.code", -5)
    assert (done.before, done.expected, done.observed, done.holds) == (0, -5, -5, True)
    assert write_variable(program, ".bss", "exit_record.code", 0).holds


def test_an_element_of_an_array_is_written(program: GuestProgram) -> None:
    assert write_map(program, "facts_array", 0, b"\1\2\3\4\5\6\7\10", index=7) == b"\1\2\3\4\5\6\7\10"
    assert write_map(program, "facts_array", 0, (49).to_bytes(8, "little"), index=7) == (49).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("name", "variable", "value", "why"),
    [
        (".rodata", "slice_ns", 1, "is frozen"),
        (".bss", "nothing", 1, "has no nothing, expected one of"),
        (".bss", "exit_record", 1, "is a struct ktstr_exit, expected an integer"),
        (".bss", "starved_at_ns.x", 1, "is in no structure"),
        (".bss", "starved_at_ns", -1, "does not fit in 8 bytes, unsigned"),
        (".bss", "exit_record.code", 1 << 63, "does not fit in 8 bytes, signed"),
        ("facts_hash", "x", 1, "is of type HASH, expected ARRAY"),
        ("facts_array", "x", 1, "has no BTF"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_reason(
    program: GuestProgram, name: str, variable: str, value: int, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        write_variable(program, name, variable, value)


@pytest.mark.parametrize(("offset", "size", "index"), [(1, 8, 0), (-1, 1, 0), (0, 9, 0), (0, 1, 8), (0, 1, -1)])
def test_nothing_is_written_beyond_a_value(program: GuestProgram, offset: int, size: int, index: int) -> None:
    with pytest.raises(Refused, match="expected within the 8 bytes of one of 8 elements"):
        write_map(program, "facts_array", offset, bytes(size), index)


def test_a_map_that_is_not_there_is_named_with_those_that_are(program: GuestProgram) -> None:
    with pytest.raises(Unreadable, match=r"map '\.nothing': found 0 of .*scx_ktst\.bss"):
        write_map(program, ".nothing", 0, b"x")


@pytest.mark.parametrize("milliseconds", [0, -1, 30_001])
def test_a_watchdog_timeout_beyond_the_kernel_s_is_refused(program: GuestProgram, milliseconds: int) -> None:
    with pytest.raises(Refused, match="expected 1 to 30000"):
        watchdog_timeout(program, milliseconds, HZ)
