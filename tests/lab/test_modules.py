from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.host.elf import BadElf
from ktstr.lab.modules import MAX_MODULE, depends, load_order, module_files, read_module
from tests.lab.modules import module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """kvm-amd needs ccp and kvm, kvm needs irqbypass; two are packed."""
    root = tmp_path / "tree"
    (root / "kvm").mkdir(parents=True)
    (root / "kvm/kvm-amd.ko.xz").write_bytes(lzma.compress(module(tmp_path, "kvm_amd", "ccp,kvm")))
    (root / "kvm/kvm.ko.xz").write_bytes(lzma.compress(module(tmp_path, "kvm", "irqbypass")))
    (root / "irqbypass.ko").write_bytes(module(tmp_path, "irqbypass", ""))
    (root / "ccp.ko").write_bytes(module(tmp_path, "ccp", ""))
    (root / "notes.ko.txt").write_text("no module")
    return root


def test_modules_are_found_by_the_name_the_kernel_uses(tree: Path) -> None:
    found = module_files(tree)
    assert {name: str(path.relative_to(tree)) for name, path in found.items()} == {
        "kvm_amd": "kvm/kvm-amd.ko.xz",
        "kvm": "kvm/kvm.ko.xz",
        "irqbypass": "irqbypass.ko",
        "ccp": "ccp.ko",
    }


def test_each_module_comes_after_what_it_needs_and_once(tree: Path) -> None:
    ordered = load_order(("kvm_amd", "irqbypass"), module_files(tree))
    assert list(ordered) == ["ccp", "irqbypass", "kvm", "kvm_amd"]
    assert depends(ordered["kvm_amd"]) == ("ccp", "kvm")


def test_a_need_without_a_file_names_who_needs_it(tree: Path) -> None:
    (tree / "irqbypass.ko").unlink()
    with pytest.raises(HostError, match="irqbypass, which kvm needs, is not in the kernel's package"):
        load_order(("kvm_amd",), module_files(tree))


def test_modules_that_need_each_other_are_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "irqbypass.ko").write_bytes(module(tmp_path, "irqbypass", "kvm"))
    with pytest.raises(HostError, match="kernel module kvm: needs itself, by way of kvm, irqbypass"):
        load_order(("kvm",), module_files(tree))


@pytest.mark.parametrize("content", [b"", b"text", b"\xfd7zXZ\0\0\1", lzma.compress(b"no ELF file")])
def test_what_is_no_module_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.ko.xz"
    path.write_bytes(content)
    with pytest.raises(HostError, match=r"kernel module bad\.ko\.xz"):
        read_module(path)


def test_an_elf_file_without_module_information_is_refused() -> None:
    with pytest.raises(BadElf, match=r"no section \.modinfo"):
        depends(Path("/bin/true").read_bytes())


def test_a_module_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.ko.xz"
    path.write_bytes(lzma.compress(bytes(MAX_MODULE + 1), preset=0))
    with pytest.raises(HostError, match=r"bomb\.ko\.xz: is larger than 67108864 bytes"):
        read_module(path)
