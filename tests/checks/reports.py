"""Records for tests, in which every value that is not named is plausible and harmless."""

from __future__ import annotations

from msgspec.structs import replace

from ktstr.record.cell import CellRecord
from ktstr.record.guest import SILENT, FileRead, GuestCpu, GuestRecord, Progress, Stimulus, WorkerReport
from ktstr.record.host import NOTHING_KNOWN
from ktstr.record.machine import KvmRun, MachineEnd

MS = 1_000_000
S = 1_000_000_000

FAIR = WorkerReport(
    index=0, work_index=0, cgroup=0, tid=100, work_units=1024_000, iterations=1000, cpu_time_ns=S, wall_time_ns=2 * S,
    migration_count=0, migrations=(), cpus_used=(0,), max_gap_ns=4 * MS, max_gap_cpu=0, max_gap_at_ns=100 * MS,
    max_gap_off_cpu_ns=4 * MS, max_stall_ns=20_000, max_stall_cpu=0, wake_latencies_ns=(), wake_sample_total=0,
    schedstat_cpu_time_ns=S, schedstat_run_delay_ns=S, schedstat_run_count=500, completed=True, exit_info=None,
)  # fmt: skip


def worker(index: int = 0, **changes: object) -> WorkerReport:
    """A fair worker with tid 100 + index; 50 % CPU of 2 s unless changed."""
    return replace(FAIR, **{"index": index, "tid": 100 + index, **changes})


def heard(**changes: object) -> GuestRecord:
    """What a guest reported that said this and nothing else."""
    return replace(SILENT, **changes)


def end(reason: str = "clean", detail: str = "") -> MachineEnd:
    return MachineEnd(reason, detail, 1.5, "QEMU 10.0.2", ("qemu",))  # type: ignore[arg-type]


def kvm_run(*waits_ns: int, budget: int = 2, **changes: object) -> KvmRun:
    """A run whose vCPUs waited so long for host CPUs, and ran 2 s each."""
    stats = tuple({"exits": 100 + cpu, "halt_exits": 7, "nested_run": 0} for cpu in range(len(waits_ns)))
    base = KvmRun(
        vm_stats={"remote_tlb_flush": 3}, vcpu_stats=stats, host_run_ns=(2 * S,) * len(waits_ns),
        host_wait_ns=waits_ns, halt_poll_ns=200_000, cpu_budget=budget, overcommit=len(waits_ns) / budget, cloned=False,
        warnings=(),
    )  # fmt: skip
    return replace(base, **changes)


def record(guest: GuestRecord | None = None, machine: MachineEnd | None = None) -> CellRecord:
    """A record of a run that ended by itself."""
    return CellRecord(
        guest=guest or heard(kernel_release="7.2.0", ended=True),
        end=machine or end(),
        input_digest="ab" * 32,
        measured_at="2025-01-02T03:04:05Z",
        measured_commit="1234567",
        run_id="20250102T030405Z-0",
        host=NOTHING_KNOWN,
    )


def told(at_ms: float, op: str, detail: str = "", **changes: object) -> Stimulus:
    """A step the agent took."""
    return replace(Stimulus(round(at_ms * MS), op, detail, 0), **changes)


def read(at_ms: float, op: int, text: str) -> FileRead:
    """What an op read from a file."""
    return FileRead(round(at_ms * MS), op, len(text), text)


def cpu_stat(usage_ms: float, periods: int | None = None, throttled: int = 0) -> str:
    """A cpu.stat; without periods that of a kernel, or of a scheduler class, that counts none."""
    lines = [f"usage_usec {round(usage_ms * 1000)}", "user_usec 1", "system_usec 1"]
    if periods is not None:
        lines += [f"nr_periods {periods}", f"nr_throttled {throttled}", "throttled_usec 12"]
    return "\n".join(lines) + "\n"


def progress(index: int = 0, **changes: object) -> Progress:
    """What a worker did in a phase: 50 % CPU of 1 s unless changed."""
    base = Progress(
        worker=index, spawn=0, iterations=500, work_units=512_000, cpu_time_ns=S // 2, migrations=0, wakes=0,
        max_gap_ns=3 * MS,
    )  # fmt: skip
    return replace(base, **changes)


def cpus(count: int, nodes: int = 1) -> tuple[GuestCpu, ...]:
    """The guest's CPUs, spread over nodes in order."""
    return tuple(GuestCpu(cpu, cpu * nodes // count, 0, tuple(range(count)), (cpu,)) for cpu in range(count))
