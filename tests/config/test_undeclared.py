from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import Binary, Config, SchedulerDecl, SchedulerKind, Tree
from ktstr.config.select import Selection, expand
from ktstr.config.undeclared import Named, with_undeclared
from ktstr.errors import InputError

STAND = Path("/home/me/sched")
TEXT = """
kernels: {k: "deb:forky/cloud-amd64"}
schedulers:
  scx_mine: {path: /usr/bin/scx_mine, args: [-v]}
  looked_for: {discover: scx_other}
  scx_qmap: {tree: scx_qmap}
tests: {t: {cgroups: [{name: a}]}}
"""


def named(*words: str, **environ: str) -> Named:
    config = parse(TEXT.encode(), Path("/p/ktstr.yaml"), validated=True)
    return with_undeclared(config, words, STAND, environ)


def kinds(config: Config, *names: str) -> list[SchedulerKind]:
    return [config.schedulers[name].kind for name in names]


def test_a_path_and_a_scheduler_of_the_tree_need_no_declaration() -> None:
    found = named("./target/release/scx_new", "tree:scx_simple", "eevdf", "scx_m*")
    assert found.patterns == ("scx_new", "scx_simple", "eevdf", "scx_m*")
    assert kinds(found.config, "scx_new", "scx_simple") == [
        Binary(STAND / "target/release/scx_new"),
        Tree("scx_simple"),
    ]
    assert found.config.schedulers["scx_new"].where == "scheduler=./target/release/scx_new"
    cells = expand(found.config, Selection(test=("t",), scheduler=found.patterns)).cells
    assert {cell.scheduler for cell in cells} == {"scx_new", "scx_simple", "eevdf", "scx_mine"}


def test_what_has_the_name_of_another_gets_one_of_its_own() -> None:
    found = named("target/release/scx_mine", "../scx_mine", "tree:scx_qmap")
    assert found.patterns == ("target-release-scx_mine", "scx_mine-2", "scx_qmap")
    assert kinds(found.config, "target-release-scx_mine", "scx_mine-2") == [
        Binary(STAND / "target/release/scx_mine"),
        Binary(Path("/home/me/scx_mine")),
    ]
    assert found.config.schedulers["scx_mine"].args == ("-v",), "what is declared stays"


def test_the_same_named_twice_is_one() -> None:
    assert named("a/scx_new", "a/scx_new").patterns == ("scx_new",)


def test_the_environment_s_path_is_that_of_the_scheduler_which_looks_for_it() -> None:
    word = "/opt/scx_other"
    assert named(word, KTSTR_SCHEDULER=word).patterns == ("looked_for",)
    assert named(word).patterns == ("scx_other",)
    assert named("/opt/x", KTSTR_SCHEDULER="/opt/x").config.schedulers["x"] == SchedulerDecl(
        "x", Binary(Path("/opt/x"))
    )


@pytest.mark.parametrize("word", ["tree:", "tree:../scx", "tree:a b"])
def test_a_tree_s_scheduler_without_a_name_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="expected the name of a scheduler in the kernel's tools/sched_ext"):
        named(word)
