from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.config.load import validate
from ktstr.config.problems import Problem
from ktstr.config.project import Project
from ktstr.config.validated import load_config
from ktstr.config.yaml_lines import Node
from ktstr.errors import InputError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "ktstr.yaml").write_text("include: a.yaml\n")
    (tmp_path / "a.yaml").write_text("tests: {t: {cgroups: [x]}}\n")
    return Project(tmp_path, tmp_path, tmp_path / "target")


def test_what_was_validated_once_is_validated_again_only_when_a_file_of_it_changed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Node] = []

    def ask(root: Node) -> list[Problem]:
        asked.append(root)
        return validate(root)

    monkeypatch.setattr("ktstr.config.load.validate", ask)
    load_config(project)
    load_config(project)
    assert len(asked) == 1
    (project.root / "a.yaml").write_text("tests: {t: {cgroups: [x, y]}}\n")
    assert len(load_config(project).tests["t"].cgroups) == 2
    assert len(asked) == 2


def test_a_mistake_in_an_included_file_is_not_taken_for_validated(project: Project) -> None:
    load_config(project)
    (project.root / "a.yaml").write_text("tests: {t: {cgroups: [x], bad: 1}}\n")
    with pytest.raises(InputError, match=r"a\.yaml:1:27 tests\.t\.bad"):
        load_config(project)


def test_the_second_time_needs_no_jsonschema(project: Project) -> None:
    load_config(project)
    code = (
        "import sys; from pathlib import Path\n"
        "from ktstr.config.project import Project; from ktstr.config.validated import load_config\n"
        f"root = Path({str(project.root)!r}); load_config(Project(root, root, root / 'target'))\n"
        "print([m for m in ('jsonschema', 'pandas', 'doit') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
