"""What a comparison contrasts, from the filters of its two sides, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from ktstr.columns import printable
from ktstr.errors import InputError
from ktstr.stats.compare.dims import DIMENSIONS, DIRTY, SCENARIO, Dimension, text
from ktstr.stats.compare.filters import Filters

_LABELLED = 3  # values of a dimension; more are not spelt out
_HEX = re.compile(r"[0-9a-f]{7,40}(-dirty)?", re.ASCII)
_CASED = ("run_source", "resolve_source", "cpu_budget")  # dimensions of few values, which a hint can list


@dataclass(frozen=True)
class Contrast:
    """``slicing``: the dimensions in which the sides' filters differ; ``pairing``: all others. Both in their order."""

    slicing: tuple[Dimension, ...]
    pairing: tuple[Dimension, ...]
    a: str
    b: str

    @property
    def slicing_names(self) -> tuple[str, ...]:
        return tuple(dim.name for dim in self.slicing)

    @property
    def pairing_names(self) -> tuple[str, ...]:
        """The scenario, then the pairing dimensions."""
        return (SCENARIO, *(dim.name for dim in self.pairing))

    @property
    def warning(self) -> str | None:
        """Of a comparison that varies more than one thing."""
        if len(self.slicing) < 2:
            return None
        names = ", ".join(self.slicing_names)
        return (
            f"warning: slicing on {len(self.slicing)} dimensions [{names}]: all of them differ between the sides, "
            "and a change is not one dimension's; vary one for a single A/B contrast"
        )


def contrast(a: Filters, b: Filters) -> Contrast:
    """What the sides differ in. Raises InputError when it is nothing: they would be the same runs.

    How a binary was found comes with its scheduler: two schedulers are compared whatever that is.
    """
    slicing = tuple(dim for dim in DIMENSIONS if set(a.of(dim.name)) != set(b.of(dim.name)))
    if not slicing:
        raise InputError(
            "A and B select identical runs, expected a variable of one side",
            fix="doit stats_compare a_kernel=6.14 b_kernel=6.15",
        )
    given = {dim.name for dim in slicing}
    pairing = tuple(
        dim for dim in DIMENSIONS if dim not in slicing and not (dim.name == "resolve_source" and "scheduler" in given)
    )
    return Contrast(slicing, pairing, _label("A", a, slicing), _label("B", b, slicing))


def _label(side: str, filters: Filters, slicing: Iterable[Dimension]) -> str:
    """The side's values; its bare letter for a dimension with none or too many of them."""
    parts = (sorted(set(filters.of(dim.name))) for dim in slicing)
    return ":".join("|".join(values) if 1 <= len(values) <= _LABELLED else side for values in parts)


def no_match(side: str, filters: Filters, runs: pd.DataFrame) -> InputError:
    """What to tell the user when a side's filters match none of the pool's runs."""
    lines = [f"{side} side filter matched 0 sidecars in pool ({len(runs)} pooled)"]
    lines += [f"hint: {hint}" for hint in _hints(filters, runs)]
    return InputError("\n  ".join(map(printable, lines)), fix="doit stats_list shows what there is")


def _hints(filters: Filters, runs: pd.DataFrame) -> Iterable[str]:
    commits = [dim for dim in DIMENSIONS if dim.commit and filters.of(dim.name)]
    for dim in commits:
        yield from _commit_hints(dim, filters.of(dim.name), _present(runs, dim))
    for dim in DIMENSIONS:
        wanted = filters.of(dim.name)
        if dim.name not in _CASED or not wanted:
            continue
        present = _present(runs, dim)
        if missing := [value for value in wanted if value not in present]:
            listed = ", ".join(present) or "(none: no run has one)"
            yield f"{dim.name}={','.join(missing)} is not in the pool, which has: {listed} (case matters)"
    if commits:
        yield "doit stats_list_values shows the commits in the pool"


def _commit_hints(dim: Dimension, wanted: Iterable[str], present: list[str]) -> Iterable[str]:
    for value in wanted:
        if value + DIRTY in present:
            yield f"did you mean {dim.name}={value}{DIRTY}?"
        elif _HEX.fullmatch(value) and value not in present:
            shorter = [one for one in present if _HEX.fullmatch(one) and value.startswith(one)]
            if shorter:
                yield f"did you mean {dim.name}={shorter[-1]}? that is how it is recorded"


def _present(runs: pd.DataFrame, dim: Dimension) -> list[str]:
    return sorted(text(runs[dim.column]).dropna().unique())
