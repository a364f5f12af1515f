"""Which CPUs of this host a KVM guest may use, held while it runs: shared with other guests and builds, or in
performance mode its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ktstr.host.cpu_topology import allowed_cpus, read_topology
from ktstr.host.reserve import Busy, Reservation, exclude, lock_dir, share
from ktstr.vm.machine import GuestSpec
from ktstr.vm.performance import Performance, prepare_performance

_RETRY_S = 0.2


@dataclass(frozen=True)
class HostCpus:
    """``cap``: ordinary guests use at most this many CPUs; ``waits`` is told once by each guest that has to wait."""

    environ: Mapping[str, str]
    cap: int | None = None
    waits: Callable[[str], None] = field(default=lambda _: None)

    @contextmanager
    def hold(self, spec: GuestSpec, timeout_s: float, cancel: threading.Event) -> Iterator[Performance | None]:
        """Hold what the guest needs, waiting while others have it; yields the plan of performance mode, if any.

        The calling thread, and so those that a machine starts, runs on what was reserved. Raises Busy naming the
        holders after ``timeout_s`` or when cancelled, HostError for a host that does not have it, InputError for a
        cap above what this process may use.
        """
        before = os.sched_getaffinity(0)
        with self._reserved(spec, timeout_s, cancel) as reservation:
            performance = _plan(spec, reservation) if spec.performance else None
            os.sched_setaffinity(0, reservation.cpus if performance is None else {performance.service_cpu})
            try:
                yield performance
            finally:
                os.sched_setaffinity(0, before)

    def _reserved(self, spec: GuestSpec, timeout_s: float, cancel: threading.Event) -> Reservation:
        deadline = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                return self._take(spec)
            except Busy as err:
                if not told:
                    self.waits(err.message)
                    told = True
                if time.monotonic() >= deadline or cancel.wait(_RETRY_S):
                    raise

    def _take(self, spec: GuestSpec) -> Reservation:
        folder, topology, allowed = lock_dir(self.environ), read_topology(), allowed_cpus()
        if not spec.performance:
            return share(self.cap, folder, topology=topology, allowed=allowed)
        guest = spec.topology
        return exclude(guest.llcs, guest.cores * guest.threads, folder, topology=topology, allowed=allowed)


def _plan(spec: GuestSpec, reservation: Reservation) -> Performance:
    return prepare_performance(spec.topology, spec.memory_mib, read_topology(), reservation)
