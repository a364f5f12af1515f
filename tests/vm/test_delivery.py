"""The delivery's bytes, and real guests that boot, wait for one and run it."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.record.guest import GuestRecord, WorkerReport
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Op,
    Payload,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopWorkers,
    Work,
    Worker,
)
from ktstr.vm.delivery import is_ready, pack, unparked
from ktstr.vm.guest_image import scheduler_part
from ktstr.vm.kernel_args import WAIT_ARGUMENT
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu_args import QemuFiles, qemu_args
from tests.vm import frames as f
from tests.vm.test_qemu import SINGLE, Lab
from tests.vm.test_qemu import lab as lab  # the fixture

RANDOMNESS = bytes(range(64))
HEAD = struct.Struct("<4sHHIIQ64s")
BOOT_S = 240
WAIT_S = 3


class TestPack:
    def test_every_field_is_where_the_header_says(self) -> None:
        data = pack(b"program!", RANDOMNESS, 0x0102030405060708)
        assert data[:4] == b"KTRD"
        magic, version, head, total, crc, realtime, randomness = HEAD.unpack(data[:88])
        assert (magic, version, head, total) == (b"KTRD", 4, 88, 96)
        assert realtime == 0x0102030405060708
        assert randomness == RANDOMNESS
        assert data[88:] == b"program!"
        assert crc == crc32(data[:12] + data[16:])

    @given(st.binary(max_size=300), st.binary(min_size=64, max_size=64), st.integers(0, 2**63 - 1))
    def test_what_is_packed_is_read_back(self, program: bytes, randomness: bytes, realtime_ns: int) -> None:
        data = pack(program, randomness, realtime_ns)
        _, _, head, total, crc, realtime, found = HEAD.unpack(data[:88])
        assert (data[head:total], found, realtime) == (program, randomness, realtime_ns)
        assert crc == crc32(data[16:], crc32(data[:12]))

    def test_the_largest_program_fits_and_no_larger_one(self) -> None:
        assert len(pack(bytes(4 << 20), RANDOMNESS, 0)) == 88 + (4 << 20)
        with pytest.raises(ValueError, match="program of 4194305 bytes, expected at most 4194304"):
            pack(bytes((4 << 20) + 1), RANDOMNESS, 0)

    @pytest.mark.parametrize("count", [0, 63, 65])
    def test_randomness_of_another_length_is_refused(self, count: int) -> None:
        with pytest.raises(ValueError, match=f"{count} bytes of randomness, expected 64"):
            pack(b"", bytes(count), 0)

    @pytest.mark.parametrize("realtime_ns", [-1, 2**63])
    def test_a_time_no_kernel_holds_is_refused(self, realtime_ns: int) -> None:
        with pytest.raises(ValueError, match=f"time of {realtime_ns} ns"):
            pack(b"", RANDOMNESS, realtime_ns)


class TestIsReady:
    WAITING = f.stream([f.hello(), f.cpu(0), f.ready()])

    def test_a_channel_that_ends_with_ready(self) -> None:
        assert is_ready(self.WAITING)

    def test_no_part_of_it(self) -> None:
        assert not any(is_ready(self.WAITING[:cut]) for cut in range(len(self.WAITING)))

    def test_nor_one_that_goes_on(self) -> None:
        assert not is_ready(f.stream([f.hello(), f.ready(), f.cpu(0)]))
        assert not is_ready(self.WAITING + b"K")

    def test_nor_one_damaged_anywhere(self) -> None:
        for at in range(len(self.WAITING)):
            damaged = bytearray(self.WAITING)
            damaged[at] ^= 1
            assert not is_ready(bytes(damaged))

    def test_nor_one_with_a_payload(self) -> None:
        assert not is_ready(f.stream([f.hello(), f.ready(b"x")]))
        assert not is_ready(f.stream([f.hello(), f.ready(f.frame(f.READY, 2, b""))]))

    def test_nor_a_log_that_quotes_it(self) -> None:
        assert not is_ready(f.stream([f.hello(), (f.SCHED_LOG, f.frame(f.READY, 2, b""))]))

    @given(st.binary(max_size=100))
    def test_random_bytes_are_no_agent(self, data: bytes) -> None:
        assert not is_ready(data)


class TestUnparked:
    def test_the_agents_words(self) -> None:
        assert unparked(f.stream([f.hello(), f.unparked(b"iopl: no"), f.end()])) == "iopl: no"

    def test_none_where_it_said_nothing_of_it(self) -> None:
        assert unparked(f.stream([f.hello(), f.ready()])) is None
        assert unparked(b"") is None

    def test_whatever_they_are_they_are_a_line_that_can_be_shown_and_stored(self) -> None:
        assert unparked(f.stream([f.hello(), f.unparked(b"a\x1b[31mb\n\xffc")])) == "a\ufffd[31mb\ufffd\ufffdc"
        assert unparked(f.stream([f.hello(), f.unparked(b"")])) == "the agent gave no reason"
        assert unparked(f.stream([f.hello(), f.unparked(b"x" * 1000)])) == "x" * 300


def test_the_agent_looks_for_the_word_that_the_host_gives() -> None:
    found = re.search(r'#define WAIT_ARGUMENT "(.*)"', (c_dir() / "guest/pid1/intake.c").read_text())
    assert found is not None and found.group(1) == WAIT_ARGUMENT


@dataclass
class Waiting:
    """A machine that boots with the word to wait, and both ends of its channel."""

    process: subprocess.Popen[bytes]
    port: socket.socket
    console: Path
    said: bytes = b""

    def read_until(self, done: Callable[[bytes], bool]) -> None:
        while not done(self.said):
            data = self.port.recv(1 << 16)
            assert data, f"the machine went off after {self.said!r}: {self.console.read_text()}"
            self.said += data

    def cpu_seconds(self) -> float:
        """What the emulator has used so far (proc(5): utime and stime)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read_to_end(self) -> tuple[GuestRecord, str | None]:
        while data := self.port.recv(1 << 16):
            self.said += data
        assert self.process.wait(30) == 0
        return decode_channel(self.said)


@contextmanager
def waiting(lab: Lab, folder: Path, *parts: Path) -> Iterator[Waiting]:
    """Boots under TCG with the channel on a socket, and waits for Ready."""
    initrd = folder / "initrd.cpio"
    initrd.write_bytes(b"".join(part.read_bytes() for part in (lab.image, *parts)))
    spec = GuestSpec(lab.kernel, (), SINGLE, memory_mib(SINGLE))
    console, channel = folder / "console.log", folder / "channel"
    files = QemuFiles(
        firmware=str(lab.tool.data_dir), kernel=str(lab.kernel), initrd=str(initrd), console=str(console),
        channel=str(channel), reset_log=str(folder / "reset.log"), memory=[str(folder / "ram")],
        monitor=f"path={folder / 'monitor'},server=on,wait=off", program="",
    )  # fmt: skip
    args = list(qemu_args(spec, "tcg", files, "cold"))
    args[args.index("-append") + 1] += f" {WAIT_ARGUMENT}"
    args[args.index(f"file,id=channel,path={channel}")] = f"socket,id=channel,path={channel},server=on,wait=on"
    process = subprocess.Popen([*lab.tool.argv_prefix, *args], env=dict(lab.tool.env), stdin=subprocess.DEVNULL)
    try:
        with socket.socket(socket.AF_UNIX) as port:
            port.settimeout(BOOT_S)
            connect(port, str(channel), process)
            machine = Waiting(process, port, console)
            machine.read_until(is_ready)
            yield machine
    finally:
        process.kill()
        process.wait()


def connect(port: socket.socket, path: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            return port.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.02)
    raise AssertionError(f"the emulator exited with {process.returncode}")


PROBE = r"""
#include <stdio.h>
#include <time.h>
int main(void)
{
	struct timespec now;
	char entropy[16] = "";
	FILE *file = fopen("/proc/sys/kernel/random/entropy_avail", "r");

	clock_gettime(CLOCK_REALTIME, &now);
	if (file && fgets(entropy, sizeof(entropy), file))
		printf("realtime %lld entropy %s", (long long)now.tv_sec, entropy);
	return 0;
}
"""


def workers_then_probe(deadline_ns: int = 20_000_000_000) -> bytes:
    """Four workers for a quarter of a second; then a "scheduler" that says what time it is, and exits."""
    cgroups = (Cgroup("spin"), Cgroup("pipe"))
    works = (
        Work("SpinWait", 0, (Worker(1000, 3), Worker(0, 2))),
        Work("PipeIo", 1, (Worker(0, 1), Worker(0, 0)), (1000,)),
    )
    ops: tuple[Op, ...] = (
        AddCgroup(0),
        Spawn(0),
        AddCgroup(1),
        Spawn(1),
        Release(),
        Hold(250_000_000),
        StopWorkers(),
        RemoveCgroups(),
        StartScheduler(0, 10**9),
    )
    return encode(Program(7, deadline_ns, cgroups, works, (Payload(("/sched/bin/probe",)),), ops))


def outcome(worker: WorkerReport) -> tuple[object, ...]:
    """What a worker says that does not hang on the emulator's speed."""
    ran = worker.work_units > 0 and worker.cpu_time_ns > 0
    return worker.index, worker.work_index, worker.cgroup, worker.completed, worker.exit_info, worker.cpus_used, ran


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    command = ["gcc", "-static", "-O2", "-Wall", "-Werror", "-x", "c", "-", "-o", str(folder / "probe")]
    subprocess.run(command, input=PROBE.encode(), check=True)
    (folder / "probe.cpio").write_bytes(scheduler_part(folder / "probe"))
    return folder / "probe.cpio"


@pytest.mark.e2e
class TestGuest:
    def test_a_delivered_program_runs_as_one_found_at_boot(self, lab: Lab, probe: Path, tmp_path: Path) -> None:
        (tmp_path / "image.cpio").write_bytes(lab.image.read_bytes() + probe.read_bytes())
        found = lab.boot(tmp_path, image=tmp_path / "image.cpio", program=workers_then_probe())
        usual, usual_error = decode_channel(found.channel.read_bytes())
        with waiting(lab, tmp_path, probe) as machine:
            machine.port.sendall(pack(workers_then_probe(), RANDOMNESS, 10**18))
            record, error = machine.read_to_end()
        assert (error, usual_error) == (None, None)
        assert [outcome(worker) for worker in record.workers] == [outcome(worker) for worker in usual.workers]
        assert [worker.completed for worker in record.workers] == [True] * 4
        assert [(s.op, s.detail) for s in record.stimuli] == [(s.op, s.detail) for s in usual.stimuli]
        assert [e.kind for e in record.sched_events] == [e.kind for e in usual.sched_events] == ["started", "exited"]
        assert (record.kernel_release, record.cpus) == (usual.kernel_release, usual.cpus)
        assert record.errors == usual.errors == ()

    def test_a_guest_waits_idle_and_its_time_begins_with_the_delivery(
        self, lab: Lab, probe: Path, tmp_path: Path
    ) -> None:
        realtime_s = 1_900_000_000
        program = workers_then_probe(WAIT_S * 10**9)  # over by now, had it counted from the boot
        with waiting(lab, tmp_path, probe) as machine:
            before = machine.cpu_seconds()
            time.sleep(WAIT_S)
            used = machine.cpu_seconds() - before
            machine.port.sendall(pack(program, RANDOMNESS, realtime_s * 10**9))
            record, error = machine.read_to_end()
        assert error is None and not record.deadline_hit
        assert used < WAIT_S / 10
        assert all(200_000_000 < worker.wall_time_ns < WAIT_S * 10**9 for worker in record.workers)
        assert record.end_ns is not None and 250_000_000 < record.end_ns < WAIT_S * 10**9
        said = re.fullmatch(r"realtime (\d+) entropy 256\n", record.sched_log)
        assert said is not None, record.sched_log
        assert realtime_s <= int(said.group(1)) < realtime_s + WAIT_S

    def test_a_damaged_delivery_is_reported_and_ends_the_machine(self, lab: Lab, tmp_path: Path) -> None:
        data = bytearray(pack(workers_then_probe(), RANDOMNESS, 10**18))
        data[-1] ^= 1
        with waiting(lab, tmp_path) as machine:
            machine.port.sendall(data)
            record, error = machine.read_to_end()
        assert error is None and record.ended and record.workers == ()
        assert len(record.errors) == 1
        assert re.fullmatch(r"bad delivery: checksum is 0x\w+, expected 0x\w+", record.errors[0])

    def test_a_port_that_closes_amid_a_delivery_ends_the_machine(self, lab: Lab, tmp_path: Path) -> None:
        with waiting(lab, tmp_path) as machine:
            machine.port.sendall(pack(workers_then_probe(), RANDOMNESS, 10**18)[:200])
            machine.port.close()
            assert machine.process.wait(30) == 0
        assert "ktstr: channel lost: closed before the program had come" in machine.console.read_text()

    @pytest.mark.slow
    def test_a_delivery_that_stops_is_reported_and_ends_the_machine(self, lab: Lab, tmp_path: Path) -> None:
        data = pack(workers_then_probe(), RANDOMNESS, 10**18)
        with waiting(lab, tmp_path) as machine:
            machine.port.sendall(data[:200])
            record, error = machine.read_to_end()
        assert error is None and record.ended
        assert record.errors == (f"bad delivery: 112 of {len(data) - 88} bytes came, and nothing more for 10 s",)
