"""What a seed perturbs: start offsets, spawn and release order, small delays between steps.

Without it a seed would change nothing: an emulator that counts instructions runs the same
schedule again. Different seeds are independent samples of the schedule; seed 0 perturbs nothing.

Numbers come from SplitMix64 (Steele, Lea and Flood, 2014) in this fixed order, so that a seed means
the same on every Python: spawn order, release order, one start offset per worker, one delay per step.

    state = state + 0x9e3779b97f4a7c15                       (mod 2**64)
    z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9           (mod 2**64)
    z = (z ^ z >> 27) * 0x94d049bb133111eb                   (mod 2**64)
    output z ^ z >> 31;   below n: (output * n) >> 64

Lengths are mostly small and sometimes long, because either alone misses bugs (the experience of
record-and-replay schedulers): a start offset is below 500 us in 7 of 8 draws, else below 20 ms; a
step is delayed in 1 of 2, then below 100 us in 7 of 8 draws, else below 5 ms. Nothing is longer than a
fiftieth of the test, so that a perturbed fair schedule stays fair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

_MASK = (1 << 64) - 1
_US, _MS = 1_000, 1_000_000
SMALL_OFFSET_NS, LONG_OFFSET_NS = 500 * _US, 20 * _MS
SMALL_DELAY_NS, LONG_DELAY_NS = 100 * _US, 5 * _MS
LONGEST_SHARE = 50  # of the test's duration
GENERATOR = "splitmix64/1"


@dataclass(frozen=True)
class Perturbations:
    """What one seed does to one scenario; times in guest nanoseconds.

    ``spawn_order`` lists works in the order they are spawned. ``release_order`` lists workers by
    their number in spawn order, and ``start_offsets_ns`` has one entry for each. ``delays_ns`` has
    one entry per step: each cgroup made, each work spawned, the release, the stop. ``kept``: the numbers of the seed's
    changes when they are not all that it makes (``scenarios.keeping``).
    """

    seed: int
    spawn_order: tuple[int, ...]
    release_order: tuple[int, ...]
    start_offsets_ns: tuple[int, ...]
    delays_ns: tuple[int, ...]
    generator: str = GENERATOR
    kept: tuple[int, ...] | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values, as the sidecar stores them; ``kept`` only where it is not all."""
        some = {} if self.kept is None else {"kept": list(self.kept)}
        return some | {
            "generator": self.generator,
            "seed": self.seed,
            "spawn_order": list(self.spawn_order),
            "release_order": list(self.release_order),
            "start_offsets_ns": list(self.start_offsets_ns),
            "delays_ns": list(self.delays_ns),
        }


class SplitMix64:
    """The generator; its state is the last one advanced to."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK

    def next(self) -> int:
        """The next 64-bit output."""
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """A number in [0, n) for n >= 1; biased by less than n / 2**64."""
        return (self.next() * n) >> 64

    def shuffled(self, n: int) -> tuple[int, ...]:
        """A permutation of range(n) (Fisher and Yates, from the end)."""
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            order[i], order[j] = order[j], order[i]
        return tuple(order)


@lru_cache(maxsize=4096)
def perturb(seed: int, works: int, workers: int, steps: int, duration_ns: int) -> Perturbations:
    """The perturbations of a seed for a scenario of this shape."""
    if seed == 0:
        return Perturbations(0, tuple(range(works)), tuple(range(workers)), (0,) * workers, (0,) * steps)
    rng = SplitMix64(seed)
    longest = max(1, duration_ns // LONGEST_SHARE)
    spawn_order = rng.shuffled(works)
    release_order = rng.shuffled(workers)
    offsets = tuple(_length(rng, SMALL_OFFSET_NS, LONG_OFFSET_NS, longest) for _ in range(workers))
    delays = tuple(_length(rng, SMALL_DELAY_NS, LONG_DELAY_NS, longest) if rng.below(2) else 0 for _ in range(steps))
    return Perturbations(seed, spawn_order, release_order, offsets, delays)


def _length(rng: SplitMix64, small: int, long: int, longest: int) -> int:
    bound = small if rng.below(8) else long
    return rng.below(min(bound, longest))
