"""Which keys of the two sides are pairs, which are on one side alone, and which miss each other by a hair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ktstr.errors import InputError
from ktstr.stats.compare.averaging import Groups
from ktstr.stats.compare.dims import PINS, Keys
from ktstr.stats.compare.filters import contains


@dataclass(frozen=True)
class PairingKey:
    """``components``: the scenario and the pairing dimensions, "" where there is none; ``pins``: by the names in
    ``dims.PINS``; ``label``: what it is called, and no other key of the comparison is."""

    components: tuple[str, ...]
    pins: dict[str, str]
    label: str


@dataclass(frozen=True)
class Tally:
    """The runs of one key of one side. The commits are as averaging has them."""

    passes: int
    skips: int
    inconclusives: int
    failures: int
    verdict: str
    expected_failure: bool
    project_commit: str | None
    kernel_commit: str | None

    @property
    def total(self) -> int:
        return self.passes + self.skips + self.inconclusives + self.failures

    @property
    def comparable(self) -> bool:
        """Whether its metrics may be compared: a pass, and not one that was a failure which the test expects."""
        return self.verdict == "pass" and not self.expected_failure


@dataclass(frozen=True)
class Group:
    """A key and its runs of each side; None for a side without any."""

    key: PairingKey
    scenario: str
    topology: str
    work_type: str
    a: Tally | None
    b: Tally | None

    @property
    def excluded(self) -> bool:
        """Whether it is a pair, and a side of it is not comparable."""
        return self.a is not None and self.b is not None and not (self.a.comparable and self.b.comparable)


@dataclass(frozen=True)
class Mismatch:
    """Runs that would be paired if they agreed in ``pin`` (``dims.PINS``): how many keys, and what each side has."""

    pin: str
    keys: int
    a: tuple[str, ...]
    b: tuple[str, ...]


@dataclass(frozen=True)
class Folded:
    """Both sides by key."""

    keys: Keys
    a: Groups
    b: Groups


@dataclass(frozen=True)
class Matched:
    """``groups``: pairs, and what is on one side alone, by scenario, topology and work type; ``pairs``: the groups
    whose metrics may be compared, by the number of their key."""

    groups: tuple[Group, ...]
    pairs: dict[int, Group]


def match(folded: Folded, substring: str | None) -> Matched:
    """Pair the keys. The substring picks each side's own groups: a pair is B's to pick, and a group of A is removed
    only when B has nothing of its key at all. Raises InputError when it picks nothing."""
    a, b = folded.a.rows, folded.b.rows
    picked_a, picked_b = (rows.index[contains(rows, substring)] for rows in (a, b))
    if picked_a.empty and picked_b.empty:
        raise InputError(
            f"filter={substring}: matched none of {len(a)} and {len(b)} groups",
            fix="it is searched for in 'scenario topology scheduler work_type'",
        )
    taken = np.union1d(picked_a.difference(b.index), picked_b)
    named = _named(folded.keys, taken)
    sides = (_records(a), _records(b))
    groups = {int(key): _group(named[int(key)], int(key), *sides) for key in taken}
    ordered = sorted(groups.values(), key=lambda group: (group.scenario, group.topology, group.work_type))
    pairs = {key: group for key, group in groups.items() if group.a and group.b and not group.excluded}
    return Matched(tuple(ordered), pairs)


def _records(rows: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Rows by key, as plain values."""
    records = zip(rows.index, rows.itertuples(index=False, name=None), strict=True)
    return {int(key): dict(zip(rows.columns, row, strict=True)) for key, row in records}


def _named(keys: Keys, taken: np.ndarray) -> dict[int, PairingKey]:
    frame = keys.frame.loc[taken]
    shown = frame[list(keys.shown)]
    short = pd.Series(list(map("/".join, shown.itertuples(index=False, name=None))), index=frame.index, dtype=object)
    pins = frame[list(PINS)]
    telling = [pin for pin in PINS if (pins[pin].groupby(short).nunique() > 1).any()]
    alike = short.duplicated(keep=False)
    rows = zip(frame.index, shown.itertuples(index=False, name=None), pins.to_dict("records"), strict=True)
    named = {}
    for key, components, kept in rows:
        detail = f" [{', '.join(kept[pin] or '-' for pin in telling)}]" if alike[key] else ""
        named[int(key)] = PairingKey(components, {str(pin): value for pin, value in kept.items()}, short[key] + detail)
    return named


def _group(key: PairingKey, number: int, a: dict[int, dict[str, Any]], b: dict[int, dict[str, Any]]) -> Group:
    one, other = a.get(number), b.get(number)
    first = one or b[number]
    return Group(key, first["test_name"], first["topology"], first["work_type"], _tally(one), _tally(other))


def _tally(row: dict[str, Any] | None) -> Tally | None:
    if row is None:
        return None
    return Tally(
        passes=row["pass"],
        skips=row["skip"],
        inconclusives=row["inconclusive"],
        failures=row["fail"],
        verdict=row["verdict"],
        expected_failure=row["expected_failure"],
        project_commit=_known(row["project_commit"]),
        kernel_commit=_known(row["kernel_commit"]),
    )


def _known(value: object) -> str | None:
    return value if isinstance(value, str) else None


def mismatches(groups: Iterable[Group]) -> tuple[Mismatch, ...]:
    """Of the groups on one side alone, those that a pin keeps from being pairs, by pin."""
    a: dict[tuple[str, ...], list[PairingKey]] = {}
    b: dict[tuple[str, ...], list[PairingKey]] = {}
    for group in groups:
        if group.a is None or group.b is None:
            (b if group.a is None else a).setdefault(group.key.components, []).append(group.key)
    near = a.keys() & b.keys()
    return tuple(found for pin in PINS if (found := _mismatch(pin, ((a[key], b[key]) for key in near))) is not None)


def _mismatch(pin: str, near: Iterable[tuple[list[PairingKey], list[PairingKey]]]) -> Mismatch | None:
    keys = 0
    seen_a: set[str] = set()
    seen_b: set[str] = set()
    for left, right in near:
        of_a, of_b = _values(pin, left, right), _values(pin, right, left)
        if of_a != of_b:
            keys += 1
            seen_a |= of_a
            seen_b |= of_b
    return Mismatch(pin, keys, tuple(sorted(seen_a)), tuple(sorted(seen_b))) if keys else None


def _values(pin: str, own: list[PairingKey], other: list[PairingKey]) -> set[str]:
    """What one side has of a pin. Hosts are compared where what runs the guests is the same."""
    if pin != "host":
        return {key.pins[pin] for key in own}
    accels = {key.pins["accel"] for key in other}
    return {key.pins[pin] for key in own if key.pins["accel"] in accels}
