from __future__ import annotations

import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ktstr.cluster import needs
from ktstr.errors import HostError

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_what_a_cluster_needs_is_the_extra() -> None:
    extra = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["cluster"]
    assert sorted(Requirement(line).name for line in extra) == list(needs.CLUSTER)


def test_with_the_extra_nothing_is_said() -> None:
    needs.need_cluster("local")


@pytest.mark.parametrize(
    ("called", "fix"),
    [("", "pip install 'ktstr[cluster]'"), ("./doit", "./doit doctor cluster=tcp://host:8786")],
)
def test_without_it_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch, called: str, fix: str) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(needs, "find_spec", find_spec)
    monkeypatch.setenv("KTSTR_CALLED_AS", called)
    with pytest.raises(HostError, match=r"cluster=tcp://host:8786 needs dask.distributed") as error:
        needs.need_cluster("tcp://host:8786")
    assert error.value.exit_code == 3 and error.value.fix == fix
