"""Builds the parts of the VMM that need no KVM with ASan and UBSan and runs their unit tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.c.objects import C_DIR, FLAGS, HERE, core_objects, link, run

NAMES = re.findall(r"^TEST\((\w+)\)", (HERE / "test_vmm_core.c").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, objects_place: Path) -> Path:
    made = core_objects(objects_place, "gcc", *FLAGS).values()
    return link("gcc", "test_vmm_core", made, tmp_path_factory.mktemp("core"), *FLAGS)


@pytest.mark.parametrize("name", NAMES)
def test_core(core: Path, name: str) -> None:
    run([str(core), name])


def test_the_public_header_is_plain_enough_for_cffi() -> None:
    """Of the preprocessor it uses nothing but its guard and two includes of standard headers."""
    lines = (C_DIR / "include" / "ktstr_vmm.h").read_text(encoding="utf-8").splitlines()
    directives = [line.split()[0] for line in lines if line.startswith("#")]
    assert directives == ["#ifndef", "#define", "#include", "#include", "#endif"]
    assert "__attribute__" not in "\n".join(lines)
