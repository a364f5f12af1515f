"""What the tables of work types and ops say of each: the types of ``record.work_table`` and ``record.op_table``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PHASE_KINDS = ("spin", "sleep", "yield", "io", "alu_hot")  # by their numbers, from 1 on; 0 is none
MAX_PHASES = 8


@dataclass(frozen=True)
class WorkParam:
    """A number that a work type takes: its key in ktstr.yaml, its name in the program, default and bounds (inclusive).

    ``unit``: ns, switch for 0 or 1, or none for a count.
    """

    key: str
    name: str
    unit: Literal["ns", "switch", ""]
    default: int
    low: int
    high: int
    about: str


@dataclass(frozen=True)
class WorkCount:
    """What a worker of a type counts beside iterations. ``unit``: ns, bytes, or none for a count."""

    name: str
    unit: Literal["ns", "bytes", ""]
    about: str


@dataclass(frozen=True)
class WorkFacts:
    """What holds for every worker of one type.

    ``number``: the type's in a program. ``about``: what a worker does. ``group_size``: how many work together, and
    ``group_params``, by how many of its first numbers that is more (``group``). ``flags``: the words of the table.
    ``params`` and ``counts`` are in the agent's order.
    """

    number: int
    about: str
    group_size: int
    group_params: int
    flags: tuple[str, ...]
    params: tuple[WorkParam, ...]
    counts: tuple[WorkCount, ...]

    def group(self, params: Sequence[int]) -> int:
        """How many work together, with these numbers: a crew is a multiple of it."""
        return self.group_size + sum(params[: self.group_params])

    def role(self, place: int, params: Sequence[int]) -> int:
        """Of a worker by its place in its crew, with these numbers: those of one role do the same."""
        place %= self.group(params)
        if "LEADS" in self.flags:
            return int(place >= (params[0] if self.group_params > 1 else 1))
        return place if "UNLIKE" in self.flags else 0

    @property
    def has_phases(self) -> bool:
        """Whether its numbers are pairs, of a kind of ``PHASE_KINDS`` and of ns."""
        return "PHASES" in self.flags

    @property
    def has_requests(self) -> bool:
        """Whether it samples how long its requests took."""
        return "REQUESTS" in self.flags

    @property
    def samples_wakes(self) -> bool:
        """Whether its body blocks and samples how late it was woken."""
        return "WAKES" in self.flags

    @property
    def needs_siblings(self) -> bool:
        """Whether its workers run on two threads of one core."""
        return "SIBLINGS" in self.flags

    @property
    def yields(self) -> bool:
        """Whether its workers give their CPU up of their own accord: what they do not get was not taken from them."""
        return "YIELDS" in self.flags

    @property
    def pins(self) -> bool:
        """Whether where its workers may run changes all the time."""
        return "PINS" in self.flags

    @property
    def never_sleeps(self) -> bool:
        """Whether it computes, or gives its CPU up, all the time."""
        return "WAKES" not in self.flags and "SLEEPS" not in self.flags


@dataclass(frozen=True)
class OpFacts:
    """What holds for every op of one kind.

    ``number``: the kind's in a program. ``about``: what it does. ``fields``: which fields of ``struct ktstr_op`` it
    takes, in the words of ``ops.def``. ``makes``: what it makes lives until its scope ends. ``takes_down``: it is run
    also when the run is cut short.
    """

    number: int
    about: str
    fields: tuple[str, ...]
    makes: bool
    takes_down: bool
