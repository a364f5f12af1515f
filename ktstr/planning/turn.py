"""When a build that takes minutes may run, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ktstr.host.cpu_topology import allowed_cpus
from ktstr.host.reserve import lock_dir, share, waiting
from ktstr.planning.request import Request

BUILD_MIB = 2048
CPUS_WAIT_S = 7200.0  # for runs that have the host to themselves


@contextmanager
def build_turn(request: Request) -> Iterator[tuple[int, ...] | None]:
    """CPUs that no undisturbed run has for itself, while no cell of this run needs them; None once cancelled.

    Tokens first, then CPUs, as ``ktstr.host.reserve`` has it.
    """
    cap, folder = request.options.building.cpu_cap, lock_dir(request.environ)
    with request.tokens.hold(cap or len(allowed_cpus()), BUILD_MIB, request.cancel) as held:
        if not held:
            yield None
            return
        step = request.progress.step
        with waiting(lambda: share(cap, folder), CPUS_WAIT_S, request.cancel, step) as reserved:
            yield reserved.cpus
