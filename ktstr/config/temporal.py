"""Assertions over the samples of a run, as a test declares them: one line each.

    never local_dsq > 10
    always idle_cpus <= 2
    eventually imbalance <= 1.5 within 500ms
    stays imbalance <= 2 after 1s

Times are of the workload, from its begin on, in the guest's time where that is virtual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

Mode: TypeAlias = Literal["never", "always", "eventually", "stays"]
Quantity: TypeAlias = Literal["imbalance", "local_dsq", "nr_running", "idle_cpus", "waiting", "longest_wait_ms"]
Relation: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]

QUANTITIES: dict[Quantity, str] = {
    "imbalance": "longest runqueue over max(1, shortest), as max_imbalance_ratio has it",
    "local_dsq": "tasks in the deepest local DSQ",
    "nr_running": "runnable tasks, on all CPUs",
    "idle_cpus": "CPUs on which nothing runs",
    "waiting": "tasks that wait for a CPU",
    "longest_wait_ms": "the longest that one of them has waited",
}
TEMPORAL_PATTERN = (
    rf"(never|always|eventually|stays) ({'|'.join(QUANTITIES)}) (<=|>=|==|!=|<|>) ([0-9]{{1,9}}(\.[0-9]{{1,9}})?)"
    r"( (within|after) ([0-9]{1,9})(ms|s))?"
)
_LINE = re.compile(TEMPORAL_PATTERN)
_BOUNDS = {"eventually": "within", "stays": "after"}
_UNITS = {"ms": 1_000_000, "s": 1_000_000_000}
RELATIONS: tuple[Relation, ...] = get_args(Relation)


@dataclass(frozen=True)
class Temporal:
    """``text`` is the line. ``bound_ns``: of ``eventually`` and ``stays``, else None."""

    text: str
    mode: Mode
    quantity: Quantity
    relation: Relation
    value: float
    bound_ns: int | None


def parse(text: str) -> Temporal:
    """Raises ValueError saying what was expected."""
    found = _LINE.fullmatch(text)
    if found is None:
        raise ValueError(
            "never|always QUANTITY <|<=|>|>=|==|!= NUMBER, eventually ... within TIME or stays ... after TIME, of"
            f" {', '.join(QUANTITIES)}"
        )
    mode, quantity, relation, value, _, _, word, amount, unit = found.groups()
    if _BOUNDS.get(mode) != word:
        expected = f"'{_BOUNDS[mode]} TIME' at its end" if mode in _BOUNDS else "no time at its end"
        raise ValueError(f"{expected}, such as in {_EXAMPLES[mode]!r}")
    bound = None if amount is None else int(amount) * _UNITS[unit]
    return Temporal(text, cast(Mode, mode), cast(Quantity, quantity), cast(Relation, relation), float(value), bound)


_EXAMPLES = {
    "never": "never local_dsq > 10",
    "always": "always idle_cpus <= 2",
    "eventually": "eventually imbalance <= 1.5 within 500ms",
    "stays": "stays imbalance <= 2 after 1s",
}
