"""Which cells to run when there is not time for all: those that cover most of what there is to cover, soonest.

A cell covers features, such as its scheduler, its preset's size, its kernel and its work types. Chosen is, again and
again, the cell with the most features not yet covered per second it would take; when all are covered, the one with the
most pairs of features that no chosen cell has together; of equals the first. A cell whose machine a chosen one has
booted does not pay for the boot. This is the greedy rule for budgeted maximum coverage (Khuller, Moss and Naor 1999).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations


@dataclass(frozen=True)
class Candidate:
    """A cell. ``seconds``: what it takes of the host with its machine there; ``machine``: what that is called, and
    ``boot_seconds`` what it takes to make."""

    features: frozenset[str]
    seconds: float
    machine: str
    boot_seconds: float


@dataclass(frozen=True)
class Budget:
    """What was chosen: indices of candidates, rising. ``features`` of ``all_features`` are covered."""

    chosen: tuple[int, ...]
    candidates: int
    seconds: float
    limit: float
    features: int
    all_features: int

    @property
    def line(self) -> str:
        """What is printed."""
        return (
            f"budget: {len(self.chosen)} of {self.candidates} cells, {self.seconds:.0f} of {self.limit:.0f} s,"
            f" {self.features} of {self.all_features} features covered"
        )


@dataclass
class _Class:
    """Candidates that cover the same and share a machine: only their seconds differ, cheapest last."""

    features: int
    pairs: int
    machine: str
    boot_seconds: float
    members: list[tuple[float, int]] = field(default_factory=list)


def choose(candidates: Sequence[Candidate], limit: float) -> Budget:
    """The cells to run in ``limit`` seconds. The same candidates give the same choice."""
    names = sorted(frozenset().union(*(one.features for one in candidates)))
    classes = _classes(candidates, {name: bit for bit, name in enumerate(names)})
    covered, paired, spent = 0, 0, 0.0
    booted: set[str] = set()
    chosen: list[int] = []
    while (best := _best(classes, covered, paired, booted, limit - spent)) is not None:
        seconds, index = best.members.pop()
        spent += seconds + (0.0 if best.machine in booted else best.boot_seconds)
        booted.add(best.machine)
        covered, paired = covered | best.features, paired | best.pairs
        chosen.append(index)
    return Budget(tuple(sorted(chosen)), len(candidates), spent, limit, covered.bit_count(), len(names))


def _classes(candidates: Sequence[Candidate], bits: dict[str, int]) -> list[_Class]:
    found: dict[tuple[frozenset[str], str], _Class] = {}
    for index, one in enumerate(candidates):
        key = (one.features, one.machine)
        if key not in found:
            places = sorted(bits[name] for name in one.features)
            pairs = (low * len(bits) + high for low, high in combinations(places, 2))
            found[key] = _Class(_mask(places), _mask(pairs), one.machine, one.boot_seconds)
        found[key].members.append((one.seconds, index))
    for made in found.values():
        made.members.sort(reverse=True)
    return list(found.values())


def _mask(bits: Iterable[int]) -> int:
    mask = 0
    for bit in bits:
        mask |= 1 << bit
    return mask


def _best(classes: Sequence[_Class], covered: int, paired: int, booted: set[str], left: float) -> _Class | None:
    """Of those that fit, the one with the most new features per second, then new pairs, then the cheapest, then the
    first; None when none fits."""
    best: _Class | None = None
    highest: tuple[float, float, float] | None = None
    for one in classes:
        if not one.members:
            continue
        cost = one.members[-1][0] + (0.0 if one.machine in booted else one.boot_seconds)
        if cost > left:
            continue
        per = max(cost, 1e-9)
        score = ((one.features & ~covered).bit_count() / per, (one.pairs & ~paired).bit_count() / per, -cost)
        if highest is None or score > highest:
            best, highest = one, score
    return best
