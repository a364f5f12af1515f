from __future__ import annotations

import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ktstr.errors import HostError
from ktstr.stats import needs

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_what_reports_need_is_the_extra() -> None:
    extra = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["reports"]
    assert sorted(Requirement(line).name for line in extra) == list(needs.REPORTS)


def test_with_the_extra_nothing_is_said() -> None:
    needs.need_reports()


@pytest.mark.parametrize(("called", "fix"), [("", "pip install 'ktstr[reports]'"), ("./doit", "./doit stats")])
def test_without_some_of_it_the_command_that_helps_is_named(
    monkeypatch: pytest.MonkeyPatch, called: str, fix: str
) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None if name in ("pyarrow", "scipy") else ModuleSpec(name, None)

    monkeypatch.setattr(needs, "find_spec", find_spec)
    monkeypatch.setenv("KTSTR_CALLED_AS", called)
    with pytest.raises(HostError, match=r"needs pyarrow, scipy") as error:
        needs.need_reports()
    assert error.value.exit_code == 3 and error.value.fix == fix
