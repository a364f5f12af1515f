"""Machines of the pinned emulator and kernel that are parked, and their clones."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import HostError
from ktstr.record.machine import VERDICT_EXITS
from ktstr.vm.channel import FrameParser
from ktstr.vm.delivery import is_ready
from ktstr.vm.machine import Guest, GuestEnded, GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.snapshot import Parked, Snapshot, Unparked, seal, sealed_file
from ktstr.vm.snapshot_files import facts_of
from ktstr.vm.snapshot_ram import digest_of
from ktstr.vm.steady import FLAGS, SOURCES
from tests.vm.frames import READY, frame
from tests.vm.test_qemu import ROOT, Lab, emulators_of, guest, spinners
from tests.vm.test_qemu import lab as lab  # the fixture
from tests.vm.test_qemu_guest import banner_of

pytestmark = pytest.mark.e2e

TOPOLOGY = Topology.parse("1n1l2c1t")
LEFT = {"channel.bin", "console.log", "emulator.log"}  # the last where the emulator said something
MAX_PROGRAM = 4 << 20  # KTSTR_MAX_PROGRAM_BYTES


def spec_of(lab: Lab, program: bytes = b"", kernel_args: Sequence[str] = ()) -> GuestSpec:
    return GuestSpec(
        lab.kernel, (lab.image,), TOPOLOGY, memory_mib(TOPOLOGY), tuple(kernel_args), program=program, parks=True
    )


def hostile(lab: Lab, mode: str) -> GuestSpec:
    return replace(spec_of(lab), initrd_parts=(lab.hostile,), setup=mode.encode())


def park(
    lab: Lab, spec: GuestSpec, folder: Path, accel: str = "icount", timeout_s: float = 240, cancel: Cancel | None = None
) -> Parked | Unparked:
    """Whatever comes of it, no process is left, and of its files only what the guest said."""
    try:
        return lab.machine(accel).park(spec, folder, timeout_s, cancel or Cancel())
    finally:
        assert emulators_of(folder) == []
        assert {path.name for path in folder.iterdir()} <= LEFT


def opened(made: Parked | Unparked, state: bytes | None = None) -> Snapshot:
    """As the store does it; with another ``state``, if one is given."""
    assert isinstance(made, Parked), made
    for fd in made.memory:
        seal(fd)
    held = sealed_file("state", made.state if state is None else state)
    return Snapshot(
        facts_of(made, digest_of(made.memory)), made.memory, held, channel=made.channel, console=made.console
    )


@pytest.fixture(scope="module")
def snapshot(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    with opened(park(lab, spec_of(lab), tmp_path_factory.mktemp("parked"))) as made:
        yield made


@contextmanager
def another_state(snapshot: Snapshot, state: bytes) -> Iterator[Snapshot]:
    fd = sealed_file("state", state)
    try:
        yield Snapshot(snapshot.facts, snapshot.memory, fd, channel=snapshot.channel, console=snapshot.console)
    finally:
        os.close(fd)


def clone(lab: Lab, snapshot: Snapshot, folder: Path, program: bytes, cancel: Cancel | None = None) -> Guest:
    folder.mkdir(exist_ok=True)
    spec = spec_of(lab, program)
    return lab.machine("icount").start(spec, folder, 240, cancel or Cancel(), snapshot=snapshot)


def words(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "channel.bin").read_bytes(), (folder / "console.log").read_bytes()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


ELSEWHERE = """
import pickle, sys
from pathlib import Path
from ktstr.cancel import Cancel
from ktstr.vm.qemu import QemuMachine
from ktstr.vm.snapshot import Snapshot
tool, steady, spec, facts, memory, state, channel, console = pickle.load(sys.stdin.buffer)
snapshot = Snapshot(facts, memory, state, channel=channel, console=console)
machine = QemuMachine(tool, "icount", steady)
with machine.start(spec, Path(sys.argv[1]), 240, Cancel(), snapshot=snapshot) as guest:
    print(guest.wait().end.reason)
"""


def _disturbed() -> None:
    """In the child: other limits of its address space, and addresses that are not random where that is allowed."""
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))
    ctypes.CDLL(None).personality(0x0040000)  # ADDR_NO_RANDOMIZE; a container may refuse


def clone_elsewhere(lab: Lab, snapshot: Snapshot, folder: Path, program: bytes) -> None:
    """The same in a process that is disturbed, has another environment and another working folder."""
    folder.mkdir()
    spec = spec_of(lab, program)
    what = (
        lab.tool, lab.steady, spec, snapshot.facts, snapshot.memory, snapshot.state, snapshot.channel,
        snapshot.console,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder)], input=pickle.dumps(what), cwd=folder, check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "LONG": "x" * 5000}, stdout=subprocess.PIPE,
        pass_fds=(*snapshot.memory, snapshot.state), preexec_fn=_disturbed,
    )  # fmt: skip
    assert done.stdout == b"clean\n"


@contextmanager
def busy() -> Iterator[None]:
    """Others want every CPU of this host."""
    others = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()


class TestParked:
    def test_it_stands_still_where_its_agent_waits(self, snapshot: Snapshot) -> None:
        assert snapshot.facts.kind == "booted"
        assert snapshot.facts.pieces == (memory_mib(TOPOLOGY) << 20,)
        assert 16 << 20 < snapshot.facts.data_bytes < snapshot.facts.ram_bytes
        assert is_ready(snapshot.channel)
        record, error = decode_channel(snapshot.channel)
        assert error is None and not record.ended and len(record.cpus) == 2

    def test_two_made_apart_have_the_same_ram(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        folder = tmp_path / "another path, with a comma"
        folder.mkdir()
        before = descriptors()
        with busy(), opened(park(lab, spec_of(lab, b"whatever is to run"), folder)) as second:
            assert second.facts == snapshot.facts
            assert (second.channel, second.console) == (snapshot.channel, snapshot.console)
        assert descriptors() <= before  # those of tests before may go meanwhile

    def test_with_a_thread_for_each_vcpu_machines_park_and_clone_too(self, lab: Lab, tmp_path: Path) -> None:
        with opened(park(lab, spec_of(lab), tmp_path, "tcg")) as made:
            spec = spec_of(lab, spinners(2))
            with lab.machine("tcg").start(spec, tmp_path, 240, Cancel(), snapshot=made) as running:
                result = running.wait()
        assert (result.end.reason, result.end.detail) == ("clean", "")
        assert len(guest(result).workers) == 4

    def test_memory_around_the_pci_hole_is_a_file_for_each_node(self, lab: Lab, tmp_path: Path) -> None:
        spec = replace(spec_of(lab, spinners(2)), topology=Topology.parse("2n2l1c1t"), memory_mib=4608)
        with opened(park(lab, spec, tmp_path)) as made:
            assert made.facts.pieces == (2304 << 20, 2304 << 20)
            assert made.facts.data_bytes < 1 << 30
            with lab.machine("icount").start(spec, tmp_path, 240, Cancel(), snapshot=made) as running:
                result = running.wait()
                pieces = running.memory.layout.pieces
                assert [(piece.node, piece.size >> 20) for piece in pieces] == [(0, 2048), (0, 256), (1, 2304)]
                ends = [running.memory.read(piece.end - (64 << 20), 64 << 20) for piece in pieces]
                assert all(end.count(0) < len(end) for end in ends)
        assert (result.end.reason, result.end.detail) == ("clean", "")


class TestClones:
    def test_they_are_the_same_bytes_whatever_the_host_does_and_whoever_reads(
        self, lab: Lab, snapshot: Snapshot, tmp_path: Path
    ) -> None:
        program = spinners(2, 1_000_000_000)  # a busy host would otherwise come too late to read
        with clone(lab, snapshot, tmp_path / "quiet", program) as quiet:
            result = quiet.wait()
        assert (result.end.reason, result.end.detail) == ("clean", "")
        assert result.channel.read_bytes().startswith(snapshot.channel)
        assert [worker.completed for worker in guest(result).workers] == [True] * 4
        with busy():
            clone_elsewhere(lab, snapshot, tmp_path / "elsewhere", program)
        with clone(lab, snapshot, tmp_path / "read", program) as read:
            reads = self.read_meanwhile(lab, read)
            end = read.wait().end
            assert (end.reason, end.detail) == ("clean", "")
        assert reads >= 3  # 20 and more on a quiet host
        assert words(tmp_path / "elsewhere") == words(tmp_path / "quiet")
        assert words(tmp_path / "read") == words(tmp_path / "quiet")
        assert {path.name for path in (tmp_path / "read").iterdir()} == {"channel.bin", "console.log"}

    def read_meanwhile(self, lab: Lab, running: Guest) -> int:
        """Its memory, a part of it at a time, and its registers; how often."""
        banner, count = banner_of(lab.kernel), 0
        size, part = memory_mib(TOPOLOGY) << 20, 4 << 20
        while not running.ends_within(0):
            assert len(running.memory.read(count * part % size, part)) == part
            assert running.memory.read(banner.address, len(banner.text)) == banner.text
            try:
                assert len(running.registers()) == 2
            except GuestEnded:
                break
            count += 1
        return count

    def test_two_programs_differ_and_neither_leaves_a_trace_in_the_other(
        self, lab: Lab, snapshot: Snapshot, tmp_path: Path
    ) -> None:
        digest = snapshot.facts.ram_digest
        seen = []
        for name, count in (("one", 2), ("two", 3), ("one again", 2)):
            with clone(lab, snapshot, tmp_path / name, spinners(count)) as running:
                assert running.wait().end.reason == "clean"
            seen.append(words(tmp_path / name)[0])
        assert seen[0] == seen[2] != seen[1]
        assert len(FrameParser().feed(seen[1])) > len(FrameParser().feed(seen[0]))
        assert digest_of(snapshot.memory).hexdigest() == digest

    def test_several_at_once_are_each_as_one_alone(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        guests = [clone(lab, snapshot, tmp_path / str(n), spinners(2)) for n in range(2)]
        try:
            assert [one.wait().end.reason for one in guests] == ["clean", "clean"]
        finally:
            for one in guests:
                one.close()
        assert words(tmp_path / "0") == words(tmp_path / "1")

    @pytest.mark.parametrize(
        ("program", "says"),
        [
            (
                bytes(MAX_PROGRAM + 1),
                f"no program: opt/ktstr/program of {MAX_PROGRAM + 1} bytes, at most {MAX_PROGRAM}",
            ),
            (b"no program at all", "bad program: "),
            (spinners(2)[:-1], "bad program: "),
            (spinners(2)[:-1] + b"\xee", "bad program: "),
        ],
        ids=["too large", "none", "cut short", "altered"],
    )
    def test_a_program_that_is_none_is_an_error_in_the_agents_words(
        self, lab: Lab, snapshot: Snapshot, tmp_path: Path, program: bytes, says: str
    ) -> None:
        with clone(lab, snapshot, tmp_path, program) as running:
            result = running.wait()
        record = guest(result)
        assert record.ended and record.workers == ()
        assert len(record.errors) == 1 and record.errors[0].startswith(says)


class TestClonesThatEnd:
    """It is never the scheduler's fault."""

    def test_one_that_is_killed(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        with clone(lab, snapshot, tmp_path, spinners(2)) as running:
            running.kill()
            assert running.wait().end.reason == "killed"
        assert emulators_of(tmp_path) == []

    def test_one_whose_emulator_is_killed(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        with clone(lab, snapshot, tmp_path, spinners(2)) as running:
            (emulator,) = emulators_of(tmp_path)
            os.kill(int(emulator), 9)
            end = running.wait().end
        assert end.reason == "emulator_failed" and "SIGKILL" in end.detail
        assert end.reason not in VERDICT_EXITS

    def test_one_that_is_cancelled_before_it_begins(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        cancel = Cancel()
        cancel.set()
        with clone(lab, snapshot, tmp_path, spinners(2), cancel) as running:
            end = running.wait().end
        assert (end.reason, end.detail) == ("killed", "cancelled")
        assert emulators_of(tmp_path) == []

    @pytest.mark.parametrize("damage", ["empty", "short", "half", "magic", "altered"])
    def test_a_state_that_is_damaged(self, lab: Lab, snapshot: Snapshot, tmp_path: Path, damage: str) -> None:
        state = os.pread(snapshot.state, os.fstat(snapshot.state).st_size, 0)
        damaged = {
            "empty": b"",
            "short": state[:100],
            "half": state[: len(state) // 2],
            "magic": b"X" + state[1:],
            "altered": state.replace(b"virtio-console", b"virtio-c0ns0le"),
        }[damage]
        assert damaged != state
        before = descriptors()
        with (
            another_state(snapshot, damaged) as bad,
            pytest.raises(HostError, match="could not move a machine's state"),
        ):
            clone(lab, bad, tmp_path, spinners(2))
        assert emulators_of(tmp_path) == []
        assert {path.name for path in tmp_path.iterdir()} <= LEFT
        assert descriptors() <= before  # those of tests before may go meanwhile

    def test_a_machine_of_another_size(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        before = descriptors()
        spec = replace(spec_of(lab), memory_mib=memory_mib(TOPOLOGY) + 64)
        with pytest.raises(HostError, match="another than the guest: nodes of"):
            lab.machine("icount").start(spec, tmp_path, 240, Cancel(), snapshot=snapshot)
        assert {path.name for path in tmp_path.iterdir()} == {"channel.bin", "console.log"}
        assert descriptors() <= before  # those of tests before may go meanwhile


class TestGuestsThatDoNotPark:
    @pytest.mark.parametrize(
        ("mode", "reason", "detail"),
        [
            ("off", "channel_lost", "the guest agent never spoke"),
            ("die", "panic", "Attempted to kill init! exitcode=0x00000300"),
            ("flood", "channel_flood", "channel.bin"),
            ("garbage", "channel_garbage", "at 0"),
            ("hang", "host_timeout", "still running after"),
        ],
    )
    def test_one_that_breaks_the_rules(self, lab: Lab, tmp_path: Path, mode: str, reason: str, detail: str) -> None:
        before = descriptors()
        made = park(lab, hostile(lab, mode), tmp_path, "tcg", timeout_s=4 if mode == "hang" else 240)
        assert isinstance(made, Unparked) and made.end is not None and made.cold is None
        assert made.end.reason == reason and detail in made.end.detail
        assert made.lasting == (mode == "die")  # of the others, the host may be the cause
        assert (made.channel, made.console) == words(tmp_path)
        assert descriptors() <= before  # those of tests before may go meanwhile

    def test_one_whose_cpus_are_busy_parks_in_real_time_alone(self, lab: Lab, tmp_path: Path) -> None:
        spec = hostile(lab, "busy\0")
        spec = replace(spec, setup=spec.setup + frame(READY, 0, b""))
        made = park(lab, spec, tmp_path)
        assert isinstance(made, Unparked) and made.end is None and made.lasting
        assert made.cold == "when the machine was to be parked, its CPUs 0-1 were busy"
        with opened(park(lab, spec, tmp_path, "tcg")) as parked:
            assert parked.facts.kind == "attached"

    def test_one_that_stops_itself_before_it_is_ready(self, lab: Lab, tmp_path: Path) -> None:
        before = descriptors()
        with pytest.raises(HostError, match="stopped before its agent was ready"):
            park(lab, hostile(lab, "stop"), tmp_path, "tcg")
        assert descriptors() <= before  # those of tests before may go meanwhile

    def test_one_whose_emulator_is_killed(self, lab: Lab, tmp_path: Path) -> None:
        def kill() -> None:
            for pid in emulators_of(tmp_path):
                os.kill(int(pid), 9)

        timer = threading.Timer(1.5, kill)
        timer.start()
        made = park(lab, hostile(lab, "hang"), tmp_path, "tcg")
        timer.join()
        assert isinstance(made, Unparked) and made.end is not None and not made.lasting
        assert made.end.reason == "emulator_failed" and "SIGKILL" in made.end.detail

    def test_a_kernel_that_is_none(self, lab: Lab, tmp_path: Path) -> None:
        made = park(lab, replace(spec_of(lab), kernel=Path("/etc/passwd")), tmp_path, "tcg")
        assert isinstance(made, Unparked) and made.end is not None
        assert made.end.reason == "emulator_failed" and "exited with 1" in made.end.detail

    def test_a_kernel_that_lets_nobody_use_ports_says_so_and_boots_cold(self, lab: Lab, tmp_path: Path) -> None:
        made = park(lab, spec_of(lab, kernel_args=("lockdown=integrity",)), tmp_path, "tcg")
        assert isinstance(made, Unparked) and made.end is None and made.lasting
        assert made.cold == "this kernel lets no process use I/O ports: iopl: Operation not permitted"

    @pytest.mark.parametrize("after_s", [0.0, 1.0])
    def test_a_cancel_ends_it(self, lab: Lab, tmp_path: Path, after_s: float) -> None:
        cancel = Cancel()
        timer = threading.Timer(after_s, cancel.set)
        timer.start()
        made = park(lab, hostile(lab, "hang"), tmp_path, "tcg", cancel=cancel)
        timer.join()
        assert isinstance(made, Unparked) and made.end is not None
        assert (made.end.reason, made.end.detail, made.lasting) == ("killed", "cancelled", False)


# Where the main loop of an emulator looks for something to do all the time, it is at every moment where it should not.
HURRY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int (*real)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
	const struct timespec now = { 0, 0 };
	*(void **)&real = dlsym(RTLD_NEXT, "ppoll");
	(void)timeout;
	return real(fds, count, &now, mask);
}
"""


def hurried(lab: Lab, folder: Path) -> Lab:
    """An emulator like the other, with such a main loop."""
    sources = [str(lab.steady.c_dir / name) for name in SOURCES]
    path = folder / "hurried.so"
    command = [lab.steady.cc, *FLAGS, *sources, "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=HURRY.encode(), check=True)
    return replace(lab, steady=replace(lab.steady, path=path))


def test_runs_on_two_llcs_are_the_same_bytes_whatever_the_host_does(lab: Lab, tmp_path: Path) -> None:
    """SMT siblings, spinners and pipes: vCPUs that are busy at once. Where the main loop was let in whenever it liked,
    one in some forty was another on a busy host, and two of three with one that is in a hurry."""
    spec = replace(spec_of(lab, spinners(6)), topology=Topology(1, 2, 1, 2))
    hurry = hurried(lab, tmp_path)
    seen = []
    (tmp_path / "parked").mkdir()
    with opened(park(lab, spec, tmp_path / "parked")) as snapshot:
        for index, (one, load) in enumerate(((lab, 0), (lab, 2), (hurry, 0), (hurry, 0), (hurry, 0), (hurry, 0))):
            folder = tmp_path / str(index)
            folder.mkdir()
            busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(load)]
            try:
                with one.machine("icount").start(spec, folder, 240, Cancel(), snapshot=snapshot) as guest:
                    assert guest.wait().end.reason == "clean"
            finally:
                for process in busy:
                    process.kill()
                    process.wait()
            seen.append(words(folder))
    assert len(set(seen)) == 1
    assert len(decode_channel(seen[0][0])[0].workers) == 8
