"""pyproject.toml and the hashed locks say the same."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import dataclass

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bootstrap.checkout import ROOT

LOCKS = ("requirements.lock", "requirements-reports.lock", "requirements-dev.lock")
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)((?:.*\\\n)(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


@dataclass(frozen=True)
class Pin:
    """One locked package: its version and the hashes of its files."""

    version: str
    hashes: frozenset[str]


def _pins(name: str) -> dict[str, Pin]:
    text = (ROOT / "bootstrap" / name).read_text()
    found = {
        str(canonicalize_name(n)): Pin(v, frozenset(re.findall(r"sha256:(\w+)", h))) for n, v, h in _ENTRY.findall(text)
    }
    assert len(found) == len(re.findall(r"^\S+==", text, re.M))
    return found


def _declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [Requirement(line) for line in (*project["dependencies"], *(x for e in extras for x in optional[e]))]


@pytest.mark.parametrize(
    ("lock", "extras"), [(LOCKS[0], ()), (LOCKS[1], ("reports", "cluster")), (LOCKS[2], ("reports", "cluster", "dev"))]
)
def test_every_declared_package_is_locked_at_a_version_it_allows(lock: str, extras: tuple[str, ...]) -> None:
    pins = _pins(lock)
    for wanted in _declared(*extras):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)].version), wanted


@pytest.mark.parametrize(("less", "more"), [*itertools.pairwise(LOCKS)])
def test_each_lock_adds_to_the_one_before_and_changes_nothing_of_it(less: str, more: str) -> None:
    before, after = _pins(less), _pins(more)
    assert before == {name: after[name] for name in before}
    assert set(before) < set(after)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    text = (ROOT / "bootstrap" / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.M)


def test_the_build_backend_comes_from_the_lock() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for line in build:
        wanted = Requirement(line)
        assert wanted.specifier.contains(_pins(LOCKS[0])[canonicalize_name(wanted.name)].version)
