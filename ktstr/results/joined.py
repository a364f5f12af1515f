"""Parts of one run, held against each other: all of it, each cell once, in the order of a run without shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ktstr.errors import InputError
from ktstr.record.part import PartCell, PartKind, selection_digest
from ktstr.results.names import SHARDS
from ktstr.results.shards import ANEW, Found

KINDS: tuple[PartKind, ...] = ("cell", "broken", "skip")  # the order of a table


@dataclass(frozen=True)
class Agreement:
    """A field that all shards of a run have in common: what it is, and what makes it so."""

    field: str
    what: str
    fix: str


AGREED = (
    Agreement("ktstr", "ktstr", "run the same ktstr in every job"),
    Agreement("commit", "the commit", "check out the same commit in every job"),
    Agreement("declarations", "ktstr.yaml", "run the same ktstr.yaml in every job, with what it includes"),
    Agreement("accel", "accel", "give accel= in every job"),
    Agreement("kernels", "kernels", "commit ktstr.lock, which pins them"),
    Agreement("machine", "the machine", "commit ktstr.lock, which pins QEMU; for kvm use one image with one compiler"),
    Agreement("asked", "variables", "give the same variables in every job, but for shard="),
    Agreement("narrowed", "what narrows it", "give the same variables in every job, but for shard="),
    Agreement("cells", "how many cells", "give the same selection in every job; no_skip=1 where hosts differ in size"),
    Agreement("skips", "how many skips", "give the same selection in every job; no_skip=1 where hosts differ in size"),
    Agreement("selection", "the cells' names", "give the same selection in every job"),
)


def joined(found: Sequence[Found]) -> tuple[Found, ...]:
    """All parts of one run, by shard. Raises InputError for one that is missing, there twice, or of another run, and
    for a run of which nothing was selected."""
    first = found[0]
    for other in found[1:]:
        _refuse_other(first, other)
    by_index = _by_index(found)
    _refuse_missing(first.part.of, by_index, found)
    ordered = tuple(by_index[index] for index in sorted(by_index))
    for one in ordered:
        _refuse_misplaced(one)
    _refuse_other_names(ordered)
    _refuse_other_schedulers(ordered)
    if not any(one.part.cells for one in ordered):
        whole = first.part.whole
        raise InputError(
            f"nothing was selected: {whole.narrowed or 'the selection'} leaves none of {whole.cells} cells in"
            f" {_some([one.shown for one in ordered])}",
            fix="run the shards with another selection",
        )
    return ordered


def _by_index(found: Sequence[Found]) -> dict[int, Found]:
    by_index: dict[int, Found] = {}
    for one in found:
        twin = by_index.setdefault(one.part.index, one)
        if twin is not one:
            raise InputError(
                f"shard {one.part.shard}: found it in {twin.shown} and in {one.shown}, expected it once",
                fix="leave out one of the folders",
            )
    return by_index


def _refuse_missing(of: int, by_index: Mapping[int, Found], found: Sequence[Found]) -> None:
    missing = [f"{index}/{of}" for index in range(1, of + 1) if index not in by_index]
    if missing:
        many = len(missing) > 1
        raise InputError(
            f"{'shards' if many else 'shard'} {_some(missing)} {'are' if many else 'is'} missing: found"
            f" {len(by_index)} of {of} parts in {_some([one.shown for one in found])}",
            fix=f"name its folder in dir= too; or doit test shard={missing[0]}, and upload its target/ktstr",
        )


def _some(words: Iterable[str], most: int = 8) -> str:
    every = list(dict.fromkeys(words))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _refuse_other(first: Found, other: Found) -> None:
    """Raise InputError unless both are parts of one run."""
    if other.part.of != first.part.of:
        raise InputError(
            f"{other.shown}: found shard {other.part.shard}, expected one of {first.part.of} as in {first.shown}"
            f" ({first.part.shard})",
            fix=f"leave out the folder that is of another run, or remove its {SHARDS}",
        )
    for agreed in AGREED:
        ours, theirs = getattr(first.part.whole, agreed.field), getattr(other.part.whole, agreed.field)
        if ours != theirs:
            raise InputError(
                f"{other.shown}: shard {other.part.shard} is of another run: {agreed.what}: found {_value(theirs)},"
                f" expected {_value(ours)} as in {first.shown} ({first.part.shard})",
                fix=agreed.fix,
            )


def _value(value: object) -> str:
    """A field of ``Whole`` in few words; digests by their beginning."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={str(item)[:16]}" for name, item in sorted(value.items())) or "none"
    return "none" if value in (None, "") else str(value)[:16]


def _refuse_misplaced(found: Found) -> None:
    """Raise InputError unless the part has exactly the cells and skips of its slice, each once and in its place."""
    part, whole = found.part, found.part.whole
    for kinds, total in ((("cell", "broken"), whole.cells), (("skip",), whole.skips)):
        places = [cell.place for cell in part.cells if cell.kind in kinds]
        wanted = range(part.index - 1, total, part.of)
        if len(set(places)) != len(places) or not all(place in wanted for place in places):
            raise InputError(
                f"{found.path}: found cells of other shards, expected one of every {part.of}, each once", fix=ANEW
            )
        if len(places) != len(wanted) and not whole.narrowed:
            raise InputError(f"{found.path}: found {len(places)} {kinds[0]}s, expected {len(wanted)}", fix=ANEW)


def entries_of(found: Sequence[Found]) -> list[tuple[Found, PartCell]]:
    """All that the parts of ``joined`` have, in the order of one run: cells, those that are broken, skips."""
    every = [(one, cell) for one in found for cell in one.part.cells]
    return sorted(every, key=lambda entry: (KINDS.index(entry[1].kind), entry[1].place))


def _refuse_other_names(found: Sequence[Found]) -> None:
    """Raise InputError unless the names are those that were selected."""
    whole, every = found[0].part.whole, [cell for _, cell in entries_of(found)]
    names = {cell.name for cell in every}
    by_place = sorted(every, key=lambda cell: cell.place)
    cells = (cell.name for cell in by_place if cell.kind != "skip")
    skips = (cell.name for cell in by_place if cell.kind == "skip")
    if len(names) != len(every) or not (whole.narrowed or selection_digest(cells, skips) == whole.selection):
        raise InputError(
            f"{_some([one.shown for one in found])}: found other cells than were selected, by their names", fix=ANEW
        )


def _refuse_other_schedulers(found: Sequence[Found]) -> None:
    """Raise InputError unless a scheduler of one name is one program in all parts that ran it."""
    first: dict[str, Found] = {}
    for one in found:
        for name, digest in one.part.schedulers.items():
            known = first.setdefault(name, one)
            if known.part.schedulers[name] != digest:
                raise InputError(
                    f"{one.shown}: shard {one.part.shard} is of another run: scheduler {name}: found {digest[:16]},"
                    f" expected {known.part.schedulers[name][:16]} as in {known.shown} ({known.part.shard})",
                    fix="build it once, or in every job from the same files with the same tools",
                )
