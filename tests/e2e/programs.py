"""Running a program of a test's own in a real guest, with the agent compiled from the sources there are."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.files import file_sha256
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.prebuilt import ensure
from ktstr.kernels.resolve import resolve
from ktstr.kernels.spec import DEFAULT
from ktstr.pins.lock import Lock, read_lock
from ktstr.record.guest import GuestRecord, Stream, WorkerReport
from ktstr.record.machine import ExitReason
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import OWN_CGROUP, Op, Payload, Program, flat
from ktstr.schedulers.artifact import Build
from ktstr.schedulers.source import source_artifact
from ktstr.tools.pinned import Tool, ensure_bpf, ensure_qemu
from ktstr.vm import agent
from ktstr.vm.cpio import archive, regular
from ktstr.vm.guest_image import base_part, scheduler_part
from ktstr.vm.machine import GuestSpec
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu import QemuMachine
from ktstr.vm.snapshot import Snapshot
from ktstr.vm.snapshot_store import SnapshotStore
from ktstr.vm.steady import Steady, planned

MS, S = 1_000_000, 1_000_000_000
ONE, TWO = Topology(1, 1, 1, 1), Topology(1, 1, 2, 1)
TOPOLOGY_OF_TWO_NODES = Topology(2, 2, 1, 1)
SCHEDULER = "/sched/bin/scx_ktstr"
_HERE = Path(__file__).parent


def payload(*words: str, cgroup: int = OWN_CGROUP, affinity: tuple[int, ...] | None = None) -> Payload:
    """What ``payload.c`` does when it is given these words."""
    return Payload(("/bin/payload", *words), cgroup, affinity)


@dataclass(frozen=True)
class Guests:
    """Kernel and emulator, what guests have in their image (an agent, and the rest of it), and the machines that
    they are clones of."""

    tool: Tool
    steady: Steady
    kernel: Path
    agent: Path
    rest: Path
    snapshots: SnapshotStore

    def run(
        self,
        folder: Path,
        program: Program,
        *,
        topology: Topology = ONE,
        accel: str = "icount",
        agent: Path | None = None,
        reason: ExitReason = "clean",
        encoded: Callable[[Program], bytes] = encode,
        cgroup_parent: str | None = None,
    ) -> GuestRecord:
        """What a guest that runs the program reports; it ends for this reason. ``agent``: another one's part, which
        boots."""
        parts, own = (agent or self.agent, self.rest), agent is not None
        spec = GuestSpec(
            self.kernel, parts, topology, memory_mib(topology), program=encoded(program), parks=not own,
            cgroup_parent=cgroup_parent,
        )  # fmt: skip
        machine = QemuMachine(self.tool, accel, self.steady if accel == "icount" else None)
        with (
            self._original(machine, spec, folder) as snapshot,
            machine.start(spec, folder, 120, Cancel(), snapshot=snapshot) as guest,
        ):
            result = guest.wait()
        record, error = decode_channel(result.channel.read_bytes())
        assert (error, result.end.reason) == (None, reason), f"{error} {result.end.detail} {record.errors}"
        return record

    @contextmanager
    def _original(self, machine: QemuMachine, spec: GuestSpec, folder: Path) -> Iterator[Snapshot | None]:
        if not spec.parks:
            yield None
            return
        key = hashlib.sha256(repr((machine.accel, machine.parking_line(spec))).encode()).hexdigest()
        with self.snapshots.holding(key, lambda: machine.park(spec, folder, 120, Cancel()), "guests") as held:
            assert isinstance(held, Snapshot), held
            yield held


def build_guests(folder: Path, lock: str) -> Guests:
    """Fetch and build everything; ``lock`` pins kernel and tools."""
    cache = Cache(cache_root(os.environ))
    (folder / "ktstr.lock").write_text(lock, encoding="utf-8")
    pins, apt = read_lock(folder / "ktstr.lock"), Apt(cache.apt)
    kernel = ensure(resolve(DEFAULT, pins, cache, apt), cache, apt)
    scheduler = scx_ktstr_part(kernel.btf, pins, cache)
    files = archive([regular("bin/payload", _payload(folder).read_bytes(), 0o755)])
    (folder / "rest.cpio").write_bytes(scheduler + files)
    tool = ensure_qemu(pins.tools["qemu"], cache, apt)
    steady = planned(c_dir(), agent.compiler(os.environ), cache)
    steady.build()
    part, snapshots = agent_part(c_dir(), folder), SnapshotStore(Cache(folder / "cache"), keep_open=4)
    return Guests(tool, steady, kernel.vmlinux, part, folder / "rest.cpio", snapshots)


def agent_part(c_folder: Path, folder: Path) -> Path:
    """The image's part with the agent of these sources."""
    agent.build(c_folder, agent.compiler(os.environ), folder / "agent")
    part = folder / "agent.cpio"
    part.write_bytes(base_part(folder / "agent"))
    return part


def _payload(folder: Path) -> Path:
    out = folder / "payload"
    flags = ("-O2", "-static", "-Wall", "-Wextra", "-Werror")
    subprocess.run([agent.compiler(os.environ), *flags, str(_HERE / "payload.c"), "-o", str(out)], check=True)
    return out


def scx_ktstr_part(btf: Path | None, pins: Lock, cache: Cache) -> bytes:
    """The image's part with scx_ktstr for the kernel with this BTF."""
    assert btf is not None
    tools = ensure_bpf(pins.tools["bpf"], cache, Apt(cache.apt))
    request = Build("lab", file_sha256(btf), "", btf, lambda: tools, cache, os.environ)
    artifact = source_artifact(_HERE.parent.parent / "schedulers" / "scx_ktstr", request)
    if artifact.build is not None and artifact.fresh is not None and not artifact.fresh():
        artifact.build()
    return scheduler_part(artifact.binary, artifact.folders)


def place(ops: tuple[Op, ...], which: Op) -> int:
    """The number of an op, by which the guest calls it; the very one, not one that equals it."""
    return next(number for number, op in enumerate(flat(ops)) if op is which)


def at_ns(record: GuestRecord, program: Program, op: Op) -> list[int]:
    """When an op was begun, and for a Repeat when it ended."""
    number = place(program.ops, op)
    return [stimulus.at_ns for stimulus in record.stimuli if stimulus.index == number]


def read_by(record: GuestRecord, program: Program, op: Op) -> list[str]:
    """What each pass of a Read read."""
    number = place(program.ops, op)
    return [read.text for read in record.reads or () if read.op == number]


def op_errors(record: GuestRecord, program: Program, op: Op) -> list[str]:
    """What was recorded of an op's failures."""
    number = place(program.ops, op)
    return [error.text for error in record.op_errors or () if error.op == number]


def printed(record: GuestRecord, number: int, stream: Stream = "stdout") -> str:
    """All that a payload printed to one of its outputs."""
    logs = (log.text for log in record.payload_logs or () if (log.payload, log.stream) == (number, stream))
    return next(logs, "")


def events_of(record: GuestRecord, number: int) -> list[tuple[str, int]]:
    """What became of a payload: kinds and codes."""
    return [(event.kind, event.code) for event in record.payload_events or () if event.payload == number]


def whole(reports: Iterable[WorkerReport]) -> bool:
    """Whether each ended by itself and was not even looked at by who would have killed it."""
    return all(report.completed and report.exit_info is None for report in reports)
