from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.schedulers.binary import check_binary

WHERE = "ktstr.yaml:7:11 schedulers.mine.path"


def _elf(path: Path, *, bits: int = 2, order: int = 1, kind: int = 3, machine: int = 62) -> Path:
    head = b"\x7fELF" + bytes([bits, order, 1]) + bytes(9)
    path.write_bytes(head + kind.to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(44))
    path.chmod(0o755)
    return path


def test_a_real_program_passes() -> None:
    real = Path(os.path.realpath(sys.executable))
    assert check_binary(real, WHERE) == real


@pytest.mark.parametrize("kind", [2, 3])
def test_fixed_and_position_independent_programs_pass(tmp_path: Path, kind: int) -> None:
    binary = _elf(tmp_path / "scx_mine", kind=kind)
    assert check_binary(binary, WHERE) == binary


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"machine": 183}, "another machine"),
        ({"bits": 1, "machine": 3}, "another machine"),
        ({"order": 2}, "another machine"),
        ({"kind": 1}, "no program"),
        ({"kind": 4}, "no program"),
    ],
)
def test_other_elf_files_are_refused(tmp_path: Path, changes: dict[str, int], found: str) -> None:
    binary = _elf(tmp_path / "scx_mine", **changes)
    with pytest.raises(InputError, match=found) as caught:
        check_binary(binary, WHERE)
    assert caught.value.message.startswith(f"{WHERE}: scheduler binary {binary}: ")


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "no ELF header"), (b"\x7fELF\x02\x01", "no ELF header"), (b"#!/bin/sh\n", "script"), (b"MZ" * 40, "no ELF")],
)
def test_files_that_are_no_elf_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    binary = tmp_path / "scx_mine"
    binary.write_bytes(content)
    binary.chmod(0o755)
    with pytest.raises(InputError, match=found):
        check_binary(binary, WHERE)


def test_a_missing_binary_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such file"):
        check_binary(tmp_path / "scx_mine", WHERE)
    with pytest.raises(InputError, match="something that is no file"):
        check_binary(tmp_path, WHERE)


def test_a_program_without_execute_permission_comes_with_the_fix(tmp_path: Path) -> None:
    binary = _elf(tmp_path / "scx_mine")
    binary.chmod(0o644)
    with pytest.raises(InputError, match="not executable") as caught:
        check_binary(binary, WHERE)
    assert caught.value.fix == f"chmod +x {binary}"
    assert caught.value.exit_code == 2
