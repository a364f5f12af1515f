"""What all shards of a run agree on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.errors import InputError
from ktstr.options import Building, GraphOptions, Select, Shard
from ktstr.planning.narrow import within_budget
from ktstr.planning.plan import _refuse_nothing
from ktstr.planning.request import Narrowing, Request
from ktstr.planning.shards import Selected, sliced
from ktstr.progress import Progress
from tests.cells.plans import MACHINE, NAME, cell, plan


def request(folder: Path, **changes: Any) -> Request:
    (folder / "ktstr.yaml").write_text("kernels: {}\n")
    return replace(plan(folder).request, narrowing=Narrowing(shard=Shard(1, 2)), **changes)


def selected(*words: str) -> Selected:
    kernels = {word: SimpleNamespace(label="default", identity="a" * 64) for word in words}
    return Selected((NAME,), (), cast(Any, kernels), MACHINE, None)


def test_a_variable_may_be_any_words_that_can_be_printed(tmp_path: Path) -> None:
    options = GraphOptions(
        select=Select(scheduler=("./b(1)/scx_x",)), building=Building(("~/my.config",), CC="ccache gcc")
    )
    asked = sliced(request(tmp_path, options=options), selected("default")).whole.asked
    assert asked == {"scheduler": "./b(1)/scx_x", "kconfig": "~/my.config", "CC": "ccache gcc"}


@pytest.mark.parametrize(
    ("options", "word", "words"),
    [
        (GraphOptions(building=Building(CC="gcc\x07")), "default", r"^CC=gcc\?: found characters"),
        (GraphOptions(select=Select(scheduler=("./a\nb",))), "default", r"^scheduler=./a\?b: found characters"),
        (GraphOptions(), "./bz\x1bImage", r"^kernel=./bz\?Image: found characters"),
        (GraphOptions(), "./" + "x" * 5000, r"^kernel=./x+: found characters"),
    ],
)
def test_one_that_no_part_can_have_is_refused_before_anything_runs(
    tmp_path: Path, options: GraphOptions, word: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        sliced(request(tmp_path, options=options), selected(word))


def test_a_slice_without_a_cell_is_said_loudly_and_no_error(tmp_path: Path) -> None:
    out = io.StringIO()
    asked = request(tmp_path, progress=Progress(out, {}))
    _refuse_nothing(asked, 7)
    assert "NOTHING IS TESTED HERE: nothing was selected: shard=1/2 leaves none of 7 cells" in out.getvalue()
    with pytest.raises(InputError, match="failed=1 leaves none of 7 cells"):
        _refuse_nothing(replace(asked, narrowing=Narrowing(failed=True)), 7)


def test_a_budget_that_no_cell_of_a_slice_fits_into_leaves_it_empty(tmp_path: Path) -> None:
    config, one = plan(tmp_path).config, cell(tmp_path)
    config.presets["one"] = one.point.topology
    asked = request(tmp_path, progress=Progress(io.StringIO(), {}))
    short = replace(asked, narrowing=Narrowing(shard=Shard(1, 2), budget_s=0.001))
    assert within_budget(short, config, {}, {NAME: one.key}) == ()
    with pytest.raises(InputError, match=r"budget_secs=0\.001: the shortest of 1 cells"):
        within_budget(replace(asked, narrowing=Narrowing(budget_s=0.001)), config, {}, {NAME: one.key})
