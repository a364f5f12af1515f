"""The agent is kept under the digest of its inputs: never one that was made from others."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import Changed, HostError
from ktstr.resources import c_dir
from ktstr.vm import agent
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the agent's sources, to be edited."""
    for folder in ("guest", "include"):
        shutil.copytree(c_dir() / folder, tmp_path / "c" / folder)
    return tmp_path / "c"


def _edits_while_it_compiles(folder: Path, edit: str) -> str:
    """A compiler that runs the shell command ``edit`` before it compiles."""
    wrapper = folder / "cc"
    real = agent.compiler(os.environ)
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *-static*) {edit} ;; esac\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def test_what_is_compiled_from_the_planned_inputs_is_kept(sources: Path, tmp_path: Path) -> None:
    cc = agent.compiler(os.environ)
    agent.build(sources, cc, tmp_path / "out/agent", agent.inputs_digest(sources, agent.toolchain_identity(cc)))
    assert (tmp_path / "out/agent").is_file()


@pytest.mark.parametrize("text", ["/* more */", "not C at all"])
def test_an_edit_while_the_agent_compiles_stores_nothing(sources: Path, tmp_path: Path, text: str) -> None:
    cc = _edits_while_it_compiles(tmp_path, f"echo '{text}' >>{sources / 'include/ktstr_proto.h'}")
    planned = agent.inputs_digest(sources, agent.toolchain_identity(cc))
    with pytest.raises(Changed, match=r"the guest agent's sources .* changed while ktstr was running") as caught:
        agent.build(sources, cc, tmp_path / "out/agent", planned)
    assert caught.value.fix == "run the command again"
    assert list((tmp_path / "out").iterdir()) == []


def test_an_edit_since_the_plan_stores_no_agent(sources: Path, tmp_path: Path) -> None:
    cc = agent.compiler(os.environ)
    planned = agent.inputs_digest(sources, agent.toolchain_identity(cc))
    (sources / "guest/base/added.h").write_text("")
    with pytest.raises(Changed):
        agent.build(sources, cc, tmp_path / "out/agent", planned)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_compiler_that_hangs_ends_by_the_cancel(sources: Path, tmp_path: Path) -> None:
    cancel, cc = Cancel(), hanging_tool(tmp_path / "cc")
    with cancelled_soon(cancel):
        agent.build(sources, cc, tmp_path / "out/agent", "planned", cancel)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_not_called_a_source_that_does_not_compile(sources: Path, tmp_path: Path) -> None:
    cc = failing_tool(tmp_path / "cc", "ld: final link failed: No space left on device")
    with pytest.raises(HostError, match=r"out: the disk is full") as caught:
        agent.build(sources, cc, tmp_path / "out/agent")
    assert "KTSTR_CACHE_DIR" in str(caught.value.fix)


def test_every_file_that_the_agent_includes_is_one_of_its_sources(sources: Path) -> None:
    """An edit of one that is not would go unnoticed."""
    known = {path.relative_to(sources).as_posix() for path in agent.sources(sources)}
    assert {f"include/{name}" for name in agent.INCLUDED} < known
    for path in agent.sources(sources):
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            places = (path.parent / name, sources / "include" / name, sources / "guest" / name)
            assert known & {os.path.relpath(place, sources) for place in places}, f"{path}: {name}"


@pytest.mark.parametrize("name", agent.INCLUDED)
def test_an_edit_of_what_all_sources_include_makes_another_agent(sources: Path, name: str) -> None:
    before = agent.inputs_digest(sources, "compiler")
    with (sources / "include" / name).open("a") as file:
        file.write("\n")
    assert agent.inputs_digest(sources, "compiler") != before


def test_two_files_of_one_name_in_two_folders_are_two_files(tmp_path: Path) -> None:
    def digest(folder: str, first: str, second: str) -> str:
        for place in ("include", "guest/ops/a", "guest/proc/a"):
            (tmp_path / folder / place).mkdir(parents=True)
        for name in agent.INCLUDED:
            (tmp_path / folder / "include" / name).touch()
        (tmp_path / folder / "guest/ops/a/x.c").write_text(first)
        (tmp_path / folder / "guest/proc/a/x.c").write_text(second)
        return agent.inputs_digest(tmp_path / folder, "compiler")

    assert digest("one", "1", "2") != digest("other", "2", "1")
    assert digest("same", "1", "2") == digest("again", "1", "2")
