"""One look at the runqueues of a real guest, also where its memory lies."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ktstr.cancel import Cancel
from ktstr.introspect.addresses import Addresses
from ktstr.introspect.btf import Btf
from ktstr.introspect.members import Members, NoMember
from ktstr.introspect.sampling import Layout, Sampler
from ktstr.kernels.symbols import Symbols, decode
from ktstr.record.samples import MAX_WAITING
from ktstr.vm.guest_memory import GuestMemory
from ktstr.vm.guest_memory import Layout as Ram
from ktstr.vm.machine import Guest
from tests.vm.test_qemu import Lab, spinners
from tests.vm.test_qemu import lab as lab  # the fixture
from tests.vm.test_qemu_park import TOPOLOGY, opened, park, spec_of

pytestmark = pytest.mark.e2e

AT_WORK = 4  # the moment at which the workers of ``spinners`` run


@pytest.fixture(scope="module")
def members(lab: Lab) -> Members:
    return Members(Btf(lab.kernel.with_name("vmlinux.btf").read_bytes()))


@pytest.fixture(scope="module")
def symbols(lab: Lab) -> Symbols:
    return decode(lab.kernel)


@pytest.fixture(scope="module")
def guest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """One that stands still while its workers run."""
    folder = tmp_path_factory.mktemp("guest")
    spec = replace(spec_of(lab, spinners(5)), watched=True)
    with (
        opened(park(lab, spec_of(lab), tmp_path_factory.mktemp("parked"))) as snapshot,
        lab.machine("icount").start(spec, folder, 500, Cancel(), snapshot=snapshot) as running,
    ):
        moments = running.moments()
        for _ in range(AT_WORK):
            next(moments)
        yield running


class Lying:
    """Memory of which one read in so many has other bytes."""

    def __init__(self, memory: GuestMemory, seed: int, often: int) -> None:
        self._memory, self._random, self._often = memory, random.Random(seed), often

    @property
    def layout(self) -> Ram:
        return self._memory.layout

    def write(self, address: int, data: bytes) -> None:
        raise AssertionError("looking writes nothing")

    def read(self, address: int, size: int) -> bytes:
        data = self._memory.read(address, size)
        if not data or self._random.randrange(self._often):
            return data
        at = self._random.randrange(0, len(data), 8)
        lie = self._random.choice((bytes(8), b"\xff" * 8, self._random.randbytes(8), data[-8:], data[:8]))
        return (data[:at] + lie + data[at + 8 :])[: len(data)]


def test_members_of_nested_and_nameless_parts_are_found(members: Members) -> None:
    assert members.offset("rq", "scx.local_dsq.nr") == members.offset("rq", "scx") + members.offset(
        "scx_rq", "local_dsq"
    ) + members.offset("scx_dispatch_q", "nr")
    assert members.offset("rq", "curr") > 0  # in a nameless union
    assert not members.has("rq", "none") and not members.has("none", "rq")
    with pytest.raises(NoMember, match="this kernel has no none in a struct rq"):
        members.offset("rq", "none")


def test_all_workers_are_seen_and_each_once(guest: Guest, members: Members, symbols: Symbols) -> None:
    sampler = Sampler(Addresses(guest.memory, symbols), Layout.of(members), TOPOLOGY.cpus, 250)
    sample = sampler.sample(7)
    assert sample.at_ns == 7 and len(sample.cpus) == TOPOLOGY.cpus
    names = {task.pid: task for task in sampler.tasks}
    for cpu in sample.cpus:
        # One of a pair that sleeps is counted until the kernel takes it off (DELAY_DEQUEUE of kernel/sched/fair.c).
        assert cpu.running is not None and 0 <= cpu.nr_running - 1 - len(cpu.waiting) <= 2
        assert all(task.queued_ns and abs(task.queued_ns - cpu.clock) < 100_000_000 for task in cpu.waiting)
    spinning = [task for cpu in sample.cpus for task in (cpu.running, *cpu.waiting) if task is not None]
    seen = [names[task.pid].comm for task in spinning if names[task.pid].cgroup == "/ktstr/spin"]
    assert sorted(seen) == [f"worker/{n}" for n in range(5)]
    assert {task.allowed for task in spinning} == {"0-1"} and {task.kind for task in spinning} == {"fair"}
    assert sampler.sample(8).cpus == sample.cpus  # it stands still


class Unlinked(Addresses):
    """Memory in which a list is empty once its head is given: that points to itself."""

    head: int | None = None

    def read(self, address: int, size: int) -> bytes:
        data = super().read(address, size)
        if self.head is None or not address <= self.head <= address + size - 8:
            return data
        at = self.head - address
        return data[:at] + self.head.to_bytes(8, "little") + data[at + 8 :]


def test_a_task_that_is_between_two_queues_waits(guest: Guest, members: Members, symbols: Symbols) -> None:
    unlinked = Unlinked(guest.memory, symbols)
    sampler = Sampler(unlinked, Layout.of(members), TOPOLOGY.cpus, 250)
    whole = sampler.sample(1)
    busy = max(range(TOPOLOGY.cpus), key=lambda cpu: len(whole.cpus[cpu].waiting))
    unlinked.head = sampler._rqs[busy] + members.offset("rq", "cfs_tasks")
    waiting = {task.pid for task in whole.cpus[busy].waiting}
    for _ in range(2):
        moved = sampler.sample(2)
        assert waiting and {task.pid for task in moved.cpus[busy].waiting} == waiting
    stranger = Sampler(unlinked, Layout.of(members), TOPOLOGY.cpus, 250)
    assert stranger.sample(3).cpus[busy].waiting == ()  # it never saw them


@pytest.mark.parametrize("often", [3, 20])
def test_memory_that_lies_is_read_to_an_end(guest: Guest, members: Members, symbols: Symbols, often: int) -> None:
    """What comes of it is samples of bounded size, or a ValueError."""
    layout, outcomes = Layout.of(members), set[str]()
    for seed in range(400):
        lying = Lying(guest.memory, seed, often)
        sampler = Sampler(Addresses(lying, symbols), layout, TOPOLOGY.cpus, 250)
        started = time.monotonic()
        try:
            sample = sampler.sample(1)
            assert all(len(cpu.waiting) <= MAX_WAITING for cpu in sample.cpus)
            outcomes.add("sample")
        except ValueError as err:
            outcomes.add(type(err).__name__)
        assert time.monotonic() - started < 5
    assert "sample" in outcomes and len(outcomes) > 1
