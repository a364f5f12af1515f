"""``ktstr init``: what it writes, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr import cli
from ktstr.commands.init import init, run
from ktstr.config.load import load
from ktstr.config.model import Binary
from ktstr.config.project import find_root
from ktstr.config.select import Selection, expand
from ktstr.errors import HostError, InputError


def test_the_new_folder_is_a_project_whose_declarations_load(tmp_path: Path) -> None:
    folder = tmp_path / "new/project"
    assert init(folder) == (folder / "dodo.py", folder / "ktstr.yaml")
    assert find_root(folder) == folder
    config = load(folder / "ktstr.yaml")
    assert config.kernels["default"].spec == "deb:forky/cloud-amd64"
    cells = expand(config, Selection()).cells
    assert [(c.test, c.preset, c.scheduler) for c in cells] == [
        ("steady", "tiny-2llc", "eevdf"),
        ("apart", "tiny-2llc", "eevdf"),
    ]
    assert 1 <= config.presets["tiny-2llc"].cpus <= 4


def test_the_commented_scheduler_is_right_when_uncommented(tmp_path: Path) -> None:
    init(tmp_path)
    path = tmp_path / "ktstr.yaml"
    lines = path.read_text().splitlines()
    begin = lines.index("# schedulers:")
    lines[begin : begin + 4] = [line.removeprefix("# ") for line in lines[begin : begin + 4]]
    path.write_text("\n".join(lines))
    mine = load(path).schedulers["mine"]
    assert mine.kind == Binary(tmp_path / "target/release/scx_mine")
    assert mine.args == ("--verbose",)


@pytest.mark.parametrize("name", ["dodo.py", "ktstr.yaml"])
def test_nothing_is_overwritten_and_nothing_else_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(InputError, match=name):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine\n"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(InputError, match=r"dodo\.py"):
        init(tmp_path)
    assert not (tmp_path / "elsewhere.py").exists()


def test_in_a_git_repository_the_results_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.o")
    assert tmp_path / ".gitignore" in init(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "*.o\n/target/ktstr/\n"


def test_a_gitignore_that_covers_the_results_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("/target\n")
    init(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "/target\n"


def test_outside_of_git_no_gitignore_appears(tmp_path: Path) -> None:
    init(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dodo.py", "ktstr.yaml"]


def test_a_file_in_place_of_the_folder_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        init(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_the_hosts() -> None:
    with pytest.raises(HostError, match="cannot be written"):
        init(Path("/proc/ktstr"))


@pytest.mark.parametrize("words", [["a", "b"], ["--force"]])
def test_other_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match="at most one folder"):
        run(words)


def test_the_command_prints_what_it_wrote_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init"]) == 0
    assert capsys.readouterr().out == "wrote dodo.py\nwrote ktstr.yaml\nnext: doit test\n"
    assert cli.main(["init"]) == 2
    assert capsys.readouterr().err.startswith("ktstr: dodo.py and ktstr.yaml: found it there")


def test_any_other_word_is_the_front_ends(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-c", "import sys; from ktstr.cli import main; sys.exit(main())", "test"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "fix: ktstr init" in done.stderr
