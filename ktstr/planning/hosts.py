"""The hosts that cells may run on: this one, or the workers of a cluster. What a plan asks of them: what runs the
guests, which guests they can have, and of which class a result in real time will be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ktstr.host.identity import host_class
from ktstr.planning.capacity import Capacity, Wanted, shortage
from ktstr.results.store import REAL_TIME

if TYPE_CHECKING:
    from ktstr.vm.probe_kvm import Kvm


K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class RunHost:
    """A host that runs cells. ``host_class``: what its results in real time hold for (``host.identity``); ``kvm``: what
    its probe guest found."""

    name: str
    host_class: tuple[str, ...]
    capacity: Capacity
    kvm: Kvm

    def lacks(self, wanted: Wanted) -> str | None:
        """Why it cannot have a guest; None when it can."""
        if wanted.accel == "kvm" and not self.kvm.usable:
            return f"{self.name} has no KVM: {self.kvm.detail}"
        return shortage(wanted, self.capacity)


@dataclass(frozen=True)
class Accel:
    """What ``accel=auto`` means, and why."""

    accel: str
    reason: str


def auto_accel(hosts: Sequence[RunHost]) -> Accel:
    """KVM where every host's probe guest ran to its end in it; else counted instructions, which they all can have."""
    without = [host for host in hosts if not host.kvm.usable]
    if not without:
        return Accel("kvm", f"KVM runs guests on all of {len(hosts)} workers")
    return Accel("icount", f"{len(without)} of {len(hosts)} workers have no KVM: {without[0].kvm.detail}")


def why_nowhere(wanted: Wanted, hosts: Sequence[RunHost]) -> str | None:
    """Why none of the hosts can have a guest, by the one with most CPUs; None where some can."""
    reasons = {host.name: host.lacks(wanted) for host in hosts}
    if None in reasons.values():
        return None
    largest = max(hosts, key=lambda host: (host.capacity.cpus, host.name))
    return f"no worker can have it: {reasons[largest.name]}"


def class_for(point: str, wanted: Wanted, hosts: Sequence[RunHost]) -> tuple[str, ...]:
    """The class of host that the cells of a point are measured on: empty for counted instructions, which hold
    everywhere, this host's without ``hosts``.

    Of several classes one is chosen by the point's name, so that all of its seeds, and both sides of a comparison, are
    of one class, and the next run asks for the same. Where no host can have the guest the choice is among all.
    """
    if wanted.accel not in REAL_TIME:
        return ()
    if not hosts:
        return host_class()
    able = [host for host in hosts if host.lacks(wanted) is None] or hosts
    weights: dict[tuple[str, ...], int] = {}
    for host in able:
        weights[host.host_class] = weights.get(host.host_class, 0) + host.capacity.cpus
    return rendezvous(point, weights)


def rendezvous(word: str, weights: Mapping[K, int]) -> K:
    """One of ``weights``: always the same for a word, however many others come and go; of many words each gets its
    share by weight. Weighted rendezvous hashing (Thaler and Ravishankar 1998): the highest ``-weight / ln(u)``, where
    ``u`` in (0, 1) is the hash of word and choice."""

    def score(choice: K) -> float:
        digest = hashlib.sha256(repr((word, choice)).encode()).digest()
        return -weights[choice] / math.log((int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1))

    return max(weights, key=lambda choice: (score(choice), repr(choice)))


def most_cpus(hosts: Sequence[RunHost]) -> int:
    """The CPUs of the host that has most of them."""
    return max(host.capacity.cpus for host in hosts)


def all_cpus(hosts: Sequence[RunHost]) -> int:
    """The CPUs of all hosts."""
    return sum(host.capacity.cpus for host in hosts)
