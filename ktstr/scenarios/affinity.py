"""Which CPUs each worker pins itself to: the declared kind, resolved on the CPUs of its cgroup at that moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr import cpulist
from ktstr.config.scenario import Affinity, Cpuset
from ktstr.errors import InputError
from ktstr.scenarios import cpusets
from ktstr.scenarios.perturb import SplitMix64
from ktstr.scenarios.places import Cpus, Places

_DRAWS = 0x6166_6669_6E69_7479  # sets what is drawn for affinities apart from what a seed perturbs


@dataclass(frozen=True)
class Pins:
    """``common``: one for all of them; else ``each`` has one for every worker."""

    common: Cpus | None = None
    each: tuple[Cpus, ...] = ()

    @property
    def together(self) -> frozenset[int] | None:
        """The CPUs of all of them; None for no pins."""
        return frozenset(self.common or ()).union(*self.each) or None


@dataclass(frozen=True)
class Around:
    """Where the workers are: ``pool``: the CPUs that they can use now; ``confined``: their cpuset, None without one."""

    places: Places
    cgroup: str | None

    @property
    def pool(self) -> Cpus:
        return self.places.pool(self.cgroup)

    @property
    def confined(self) -> Cpus | None:
        return self.places.confined(self.cgroup)


def generator(seed: int, number: int) -> SplitMix64:
    """What the ``number``-th random affinity of a scenario is drawn from; seed 0 has its own fixed draw."""
    return SplitMix64(SplitMix64(seed ^ _DRAWS).next() + number)


def pins(affinity: Affinity, workers: int, around: Around, draws: SplitMix64) -> Pins:
    """The CPUs of so many workers.

    Raises InputError, with the place of the declaration, for CPUs that the topology does not have, that are offline, or
    of which none is in the cpuset: a pin to none is no pin.
    """
    pool = around.pool
    match affinity.kind:
        case "cpuset":
            return Pins(_of_cpuset(affinity.cpusets[0], affinity.where, around))
        case "each":
            inside = [_of_cpuset(one, one.where or affinity.where, around) for one in affinity.cpusets]
            return Pins(each=tuple(inside[i % len(inside)] for i in range(workers)))
        case "random":
            return Pins(each=tuple(_half(pool, draws) for _ in range(workers)))
        case "llc_aligned":
            return Pins(_llc_aligned(pool, around.places))
        case "single":
            return Pins(pool[:1])
        case "lowest":
            return Pins(pool[: affinity.number])
        case "spread":
            return Pins(each=tuple((pool[(affinity.number + i) % len(pool)],) for i in range(workers)))
    return Pins(pool)


def _half(pool: Cpus, draws: SplitMix64) -> Cpus:
    order = draws.shuffled(len(pool))
    return tuple(sorted(pool[i] for i in order[: max(1, len(pool) // 2)]))


def _llc_aligned(pool: Cpus, places: Places) -> Cpus:
    """Those of the LLC that has the most of them, the first of several."""
    topology = places.topology
    shares = (tuple(cpu for cpu in topology.llc_cpus(llc) if cpu in pool) for llc in range(topology.llcs))
    return max(shares, key=len)


def _of_cpuset(declared: Cpuset, where: str, around: Around) -> Cpus:
    topology, confined = around.places.topology, around.confined
    place = where or declared.where
    if declared.kind == "exact":
        numbers = tuple(int(cpu) for cpu in declared.args)
        wanted: Sequence[int] = cpusets.exact(numbers, topology, place)
    else:
        numbers = wanted = cpusets.resolve(declared, topology)
    if confined is not None and not (wanted := [cpu for cpu in wanted if cpu in confined]):
        raise InputError(
            f"{place}: found CPUs {cpulist.render(numbers)}, expected one of the cpuset's CPUs,"
            f" {cpulist.render(confined)} (topology {topology.label})"
        )
    online = tuple(cpu for cpu in wanted if cpu in around.places.online)
    if not online:
        raise InputError(
            f"{place}: found CPUs {cpulist.render(wanted)}, which are offline at this moment, expected one that is"
            f" online, {cpulist.render(around.pool)} (topology {topology.label})"
        )
    return online
