"""Jobs run on this host, as many at once as its CPUs and memory allow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.cells.job import Asked, CellJob, CellResult
from ktstr.cells.run import Runner
from ktstr.host.tokens import TokenPool
from ktstr.vm.memory import HOST_OVERHEAD_MIB


@dataclass(frozen=True)
class LocalRunner:
    """``tokens``: what builds and cells of this process share."""

    runner: Runner
    tokens: TokenPool

    def run(self, job: CellJob, workdir: Path, asked: Asked, cancel: Cancel) -> CellResult | None:
        """As ``JobRunner``."""
        with self.tokens.hold(job.limits.host_cpus, job.limits.memory_mib, cancel) as held:
            if not held:
                return None
            asked.started(None)
            return self.runner.run(job, workdir, cancel)

    def park(self, job: CellJob, workdir: Path, cancel: Cancel) -> None:
        """Make the machine that a job's is a clone of, unless there is one. Raises HostError, OSError."""
        with self.tokens.hold(job.limits.host_cpus, job.memory_mib + HOST_OVERHEAD_MIB, cancel) as held:
            if held:
                with self.runner.holding(job, workdir, cancel):
                    pass
