"""What the tables of work types and ops say of each: the types of ``record.work_table`` and ``record.op_table``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WorkParam:
    """A number that a work type takes: its key in ktstr.yaml, its name in the program, default and bounds (inclusive).

    ``unit``: ns, or none for a count.
    """

    key: str
    name: str
    unit: Literal["ns", ""]
    default: int
    low: int
    high: int
    about: str


@dataclass(frozen=True)
class WorkFacts:
    """What holds for every worker of one type.

    ``number``: the type's in a program. ``about``: what a worker does. ``group_size``: how many work together, so
    that a crew is a multiple of it. ``samples_wakes``: its body blocks and samples the time around the blocking call.
    ``params`` are in the agent's order.
    """

    number: int
    about: str
    group_size: int
    samples_wakes: bool
    params: tuple[WorkParam, ...]


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
