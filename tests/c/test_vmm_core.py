"""Builds the parts of the VMM that need no KVM with ASan and UBSan and runs their unit tests."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.c.test_c import C_DIR, FLAGS, HERE, run

NAMES = re.findall(r"^TEST\((\w+)\)", (HERE / "test_vmm_core.c").read_text(), re.MULTILINE)


def build(test: str, out: Path, *flags: str) -> Path:
    """One program linked with all of the VMM, its sources compiled side by side: an emulated host takes a minute."""
    sources = [HERE / f"{test}.c", *sorted((C_DIR / "core").glob("*.c"))]
    objects = [str(out.with_name(f"{source.stem}.o")) for source in sources]
    compiler = ["gcc", *flags, "-pthread", f"-I{C_DIR / 'include'}", f"-I{C_DIR / 'core'}"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda source, made: run([*compiler, "-c", str(source), "-o", made]), sources, objects))
    run([*compiler, *objects, "-o", str(out)])
    return out


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("test_vmm_core", tmp_path_factory.mktemp("core") / "core", *FLAGS)


@pytest.mark.parametrize("name", NAMES)
def test_core(core: Path, name: str) -> None:
    run([str(core), name])


def test_the_public_header_is_plain_enough_for_cffi() -> None:
    """Of the preprocessor it uses nothing but its guard and two includes of standard headers."""
    lines = (C_DIR / "include" / "ktstr_vmm.h").read_text(encoding="utf-8").splitlines()
    directives = [line.split()[0] for line in lines if line.startswith("#")]
    assert directives == ["#ifndef", "#define", "#include", "#include", "#endif"]
    assert "__attribute__" not in "\n".join(lines)
