"""What the kernel says about a process and its threads while it runs (proc(5))."""

from __future__ import annotations

from pathlib import Path


def peak_memory_kib(pid: int) -> int | None:
    """The most memory the process has had resident (VmHWM), None once it is gone.

    Not wait4's ru_maxrss: that one still counts what the process was before its exec.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def thread_times(pid: int, prefix: str) -> dict[int, tuple[int, int]]:
    """How long each thread called ``prefix`` and a number, and maybe more behind a slash, ran on a CPU and waited for
    one, in ns, by that number. Threads that end meanwhile are left out."""
    times = {}
    for thread in _threads(Path(f"/proc/{pid}/task")):
        try:
            name = (thread / "comm").read_text()
            if name.startswith(prefix):
                number = int(name.removeprefix(prefix).partition("/")[0])
                run_ns, wait_ns, _slices = map(int, (thread / "schedstat").read_text().split())
                times[number] = (run_ns, wait_ns)
        except (OSError, ValueError):
            continue
    return times


def _threads(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


class VcpuTimes:
    """Run time and run delay of the threads whose names begin with ``prefix``; of none when it is None."""

    def __init__(self, pid: int, prefix: str | None) -> None:
        self._folder = Path(f"/proc/{pid}/task")
        self._prefix = prefix
        self._latest: dict[str, tuple[int, int]] = {}

    def sample(self) -> None:
        """Read every thread anew. A thread that has ended keeps its last reading."""
        if self._prefix is None:
            return
        for thread in _threads(self._folder):
            self._read(thread)

    def _read(self, thread: Path) -> None:
        try:
            if thread.name not in self._latest and not (thread / "comm").read_text().startswith(self._prefix or ""):
                return
            run_ns, delay_ns, _slices = (thread / "schedstat").read_text().split()
            self._latest[thread.name] = (int(run_ns), int(delay_ns))
        except (OSError, ValueError):
            return

    def dilation(self) -> float | None:
        """1 + total run delay / total run time; None when nothing was read."""
        run = sum(run for run, _ in self._latest.values())
        delay = sum(delay for _, delay in self._latest.values())
        return 1 + delay / run if run else None
