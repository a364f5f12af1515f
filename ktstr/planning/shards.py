"""What a plan with ``shard=i/n`` is a part of: what all shards of one run agree on, and where its cells are in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import ktstr
from ktstr.columns import printable
from ktstr.config.undeclared import undeclared_words
from ktstr.config.validated import declarations_digest
from ktstr.errors import InputError
from ktstr.options import decisive
from ktstr.record.part import MAX_LINE, PartAccel, Whole, is_line, selection_digest

if TYPE_CHECKING:
    from ktstr.planning.kernel import Kernel
    from ktstr.planning.request import Narrowing, Request
    from ktstr.vm.machine import Machine


@dataclass(frozen=True)
class Sliced:
    """``places``: of the cells and skips of the plan, by name, each among all of its kind in the run, from 0."""

    whole: Whole
    places: Mapping[str, int]


@dataclass(frozen=True)
class Selected:
    """All that was selected, before it was sliced: names of cells and of skips, in order."""

    cells: tuple[str, ...]
    skips: tuple[str, ...]
    kernels: Mapping[str, Kernel]
    machine: Machine
    commit: str | None


def sliced(request: Request, selected: Selected) -> Sliced:
    """What shards of this selection agree on. Raises as ``load_config``, and InputError for a name that no part of a
    run may have."""
    options, narrowing = request.options, request.narrowing
    words = ",".join(undeclared_words(options.select.scheduler))
    asked = {**decisive(options), **({"scheduler": words} if words else {})}
    labels = (kernel.label for kernel in selected.kernels.values())
    for name, text in (*asked.items(), *(("kernel", word) for word in (*selected.kernels, *labels))):
        _refuse_unnamable(name, text)
    whole = Whole(
        ktstr=ktstr.__version__,
        commit=selected.commit,
        declarations=declarations_digest(request.project),
        accel=cast(PartAccel, selected.machine.accel),
        machine=selected.machine.digest,
        kernels={kernel.label: kernel.identity for kernel in selected.kernels.values()},
        asked=asked,
        narrowed=narrowed_by(narrowing),
        cells=len(selected.cells),
        skips=len(selected.skips),
        selection=selection_digest(selected.cells, selected.skips),
    )
    places = {name: place for names in (selected.cells, selected.skips) for place, name in enumerate(names)}
    return Sliced(whole, places)


def _refuse_unnamable(name: str, text: str) -> None:
    if not is_line(text):
        raise InputError(
            f"{name}={printable(text[:200])}: found characters that are not printed, or more than {MAX_LINE}, expected"
            " what a part of a run can name",
            fix="give the file a name of letters and digits",
        )


def narrowed_by(narrowing: Narrowing) -> str:
    """What else than ``shard=`` leaves out cells of the selection; empty when nothing does."""
    budget = "" if narrowing.budget_s is None else f"budget_secs={narrowing.budget_s:g}"
    names = "a cell by name" if narrowing.cells or narrowing.keys is not None else ""
    return ", ".join(filter(None, ("failed=1" if narrowing.failed else "", budget, names)))
