"""Guest memory that lies: whatever is mutated, each reader ends soon, reads a bounded amount, and gives a value of its
type that says what it found. Cost: 1,500 mutations, some 10 s; slow: a million.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from ktstr.introspect.bpf import read_programs
from ktstr.introspect.dmesg import read_dmesg
from ktstr.introspect.maps import read_maps
from ktstr.introspect.program import GuestProgram, Unreadable, open_program
from ktstr.introspect.runqueues import read_runqueues, read_sched_domains
from ktstr.introspect.scx import read_dsqs, read_events, read_state
from ktstr.introspect.snapshot import Moment, read_snapshot
from ktstr.introspect.stacks import read_bpf_symbols, read_running, read_stack
from ktstr.introspect.summary import summary
from ktstr.introspect.tasks import read_tasks, task_addresses
from ktstr.record.dump import Snapshot
from ktstr.record.kernel import (
    BpfMaps,
    BpfPrograms,
    Dsqs,
    KernelLog,
    Runqueue,
    SchedDomains,
    ScxEvents,
    ScxState,
    Stack,
    Tasks,
)
from ktstr.vm.guest_memory import Layout
from tests.introspect.guests import SavedMemory, Taken

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(0)]

MUTATIONS, SLOW_MUTATIONS = 1_500, 1_000_000
_AT_ONCE = 8  # mutations that one look at the guest meets
_MOST_S = 60.0  # of one look, on a busy host
_MOST_BYTES = 1 << 30  # read by one look
_MOST_READS = 4_000_000
HZ = 250


class Traced:
    """Memory that notes where it is read."""

    def __init__(self, memory: SavedMemory) -> None:
        self.memory = memory
        self.layout: Layout = memory.layout
        self.places: dict[int, int] = {}

    def read(self, address: int, size: int) -> bytes:
        self.places[address] = max(size, self.places.get(address, 0))
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        raise AssertionError(f"{len(data)} bytes written at {address:#x} by a reader")


Look = Callable[[GuestProgram], object]


def stacks(program: GuestProgram) -> tuple[Stack, ...]:
    try:
        bpf = read_bpf_symbols(program)
        addresses = task_addresses(program)
    except Unreadable:
        return ()
    sleeping = tuple(read_stack(program, address, bpf) for address in addresses[:8])
    return (*sleeping, *read_running(program, program.registers, bpf))


def _or_nothing(look: Look) -> Look:
    def read(program: GuestProgram) -> object:
        try:
            return look(program)
        except Unreadable:
            return ()

    return read


LOOKS: dict[str, tuple[Look, object]] = {
    "runqueues": (_or_nothing(lambda p: read_runqueues(p, HZ)), tuple[Runqueue, ...]),
    "domains": (_or_nothing(read_sched_domains), tuple[SchedDomains, ...]),
    "state": (lambda p: read_state(p, HZ), ScxState),
    "events": (read_events, ScxEvents),
    "dsqs": (lambda p: read_dsqs(p, HZ), Dsqs),
    "tasks": (lambda p: read_tasks(p, HZ), Tasks),
    "stacks": (stacks, tuple[Stack, ...]),
    "programs": (read_programs, BpfPrograms),
    "maps": (read_maps, BpfMaps),
    "log": (read_dmesg, KernelLog),
    "summary": (lambda p: summary(p, HZ), str),
    "snapshot": (lambda p: read_snapshot(p, HZ, Moment(5, p.registers)), Snapshot),
}


@dataclass(frozen=True)
class Target:
    """A reader, the type of what it gives, and the places that it reads, by address, of an unharmed guest."""

    name: str
    look: Look
    gives: object
    places: tuple[tuple[int, int], ...]


def targets(taken: Taken) -> tuple[Target, ...]:
    found = []
    for name, (look, gives) in LOOKS.items():
        traced = Traced(taken.memory)
        look(open_program(traced, taken.kernel, taken.registers))
        found.append(Target(name, look, gives, tuple(sorted(traced.places.items()))))
    return tuple(found)


class Mutator:
    """Changes what a reader is about to read, and puts it back."""

    def __init__(self, memory: SavedMemory, rng: random.Random) -> None:
        self._memory, self._rng = memory, rng
        self._undo: list[tuple[int, bytes]] = []

    def mutate(self, target: Target) -> None:
        rng = self._rng
        address, size = rng.choice(target.places)
        width = min(size, rng.choice((1, 2, 4, 8, 8, 8, 8)))
        at = address + rng.randrange(size - width + 1) // width * width
        self._undo.append((at, self._memory.read(at, width)))
        self._memory.write(at, self._value(target).to_bytes(8, "little")[:width])

    def _value(self, target: Target) -> int:
        """Numbers that are wrong in telling ways, and pointers to what is there: cycles, things of other types."""
        rng = self._rng
        elsewhere = rng.choice(target.places)[0]
        return rng.choice((
            0, 1, 2, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1, 1 << 63, 0xDEAD000000000100,
            rng.getrandbits(8), rng.getrandbits(32), rng.getrandbits(64),
            0xFFFF888000000000 + elsewhere, 0xFFFF888000000000 + (elsewhere & ~7), 0xFFFFFFFF80000000 + elsewhere,
            0xFFFF888000000000 + rng.randrange(1 << 29), 0xFFFFC90000000000 + rng.getrandbits(24),
        ))  # fmt: skip

    def restore(self) -> None:
        while self._undo:
            self._memory.write(*self._undo.pop())


def look_once(taken: Taken, target: Target) -> bytes:
    """One look, which must keep within its bounds; what it gives must be a value of its type: as JSON."""
    memory = taken.memory
    memory.reads = memory.read_bytes = 0
    started = time.monotonic()
    try:
        value = target.look(open_program(memory, taken.kernel, taken.registers))
    except Unreadable:  # not even the kernel could be found
        return b""
    assert time.monotonic() - started < _MOST_S, f"{target.name} took too long"
    assert memory.read_bytes < _MOST_BYTES, f"{target.name} read {memory.read_bytes} bytes"
    assert memory.reads < _MOST_READS, f"{target.name} read {memory.reads} times"
    msgspec.convert(msgspec.to_builtins(value), target.gives)
    return msgspec.json.encode(value)


def test_mutated_memory_makes_no_reader_crash_hang_or_read_without_bound(taken: Taken, slow: bool) -> None:
    seed = int(os.environ.get("KTSTR_FUZZ_SEED", "1"))
    rng = random.Random(seed)
    mutator = Mutator(taken.memory, rng)
    readers = targets(taken)
    unharmed = {target.name: look_once(taken, target) for target in readers}
    differ = 0
    for turn in range((SLOW_MUTATIONS if slow else MUTATIONS) // _AT_ONCE):
        target = rng.choice(readers)
        for _ in range(_AT_ONCE):
            mutator.mutate(target)
        try:
            differ += look_once(taken, target) != unharmed[target.name]
        except BaseException as err:
            err.add_note(f"{target.name}, turn {turn} of seed {seed}")
            raise
        finally:
            mutator.restore()
    assert differ > turn // 4, f"of {turn + 1} looks {differ} saw what had been mutated"


def test_an_unharmed_guest_is_read_again_after_all_that(taken: Taken) -> None:
    program = taken.open()
    assert read_tasks(program, HZ).error is None
    assert read_maps(program).error is None
    assert {row.error for row in read_runqueues(program, HZ)} == {None}
