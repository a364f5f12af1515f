"""Which CPUs of this host a KVM guest may use, held while it runs: shared with other guests and builds, or in
performance mode its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ktstr.cancel import Cancel
from ktstr.host.cpu_topology import allowed_cpus, read_topology
from ktstr.host.reserve import Reservation, exclude, lock_dir, share, waiting
from ktstr.vm.machine import GuestSpec, Place
from ktstr.vm.performance import prepare_performance


@dataclass(frozen=True)
class HostCpus:
    """``cap``: ordinary guests use at most this many CPUs; ``on_wait`` is called once by each guest that has to wait,
    with a sentence that names the holders."""

    environ: Mapping[str, str]
    cap: int | None = None
    on_wait: Callable[[str], None] = field(default=lambda _: None)

    @contextmanager
    def hold(self, spec: GuestSpec, timeout_s: float, cancel: Cancel) -> Iterator[Place]:
        """Hold what the guest needs, waiting while others have it; yields where it may run.

        Raises Busy naming the holders after ``timeout_s``, Cancelled, HostError for a host that does not have it,
        InputError for a cap above what this process may use.
        """
        with waiting(lambda: self._take(spec), timeout_s, cancel, self.on_wait) as reservation:
            yield _performance_place(spec, reservation) if spec.performance else Place(reservation.cpus)

    def _take(self, spec: GuestSpec) -> Reservation:
        folder, topology, allowed = lock_dir(self.environ), read_topology(), allowed_cpus()
        if not spec.performance:
            return share(self.cap, folder, topology=topology, allowed=allowed)
        guest = spec.topology
        return exclude(guest.llcs, guest.most_cpus_per_llc, folder, topology=topology, allowed=allowed)


def _performance_place(spec: GuestSpec, reservation: Reservation) -> Place:
    plan = prepare_performance(spec.topology, spec.memory_mib, read_topology(), reservation)
    return Place((plan.service_cpu,), plan)
