"""From sources to a vmlinux: configured once, resumed, and never behind the back of a tree's owner."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.kernels.compile import Built, CompileOptions, compile_kernel
from ktstr.kernels.kconfig import BOOTS, Kconfig, LostOptions, load_kconfig, options
from ktstr.kernels.toolchain import KernelToolchain, find_toolchain
from ktstr.progress import Steps
from tests.kernels.toy_tree import OBJECTS, configure, toy_tree

MINIMAL = load_kconfig(["minimal"], Path("/nowhere"))
HZ1000 = load_kconfig(["minimal", "hz1000"], Path("/nowhere"))
TREE = Kconfig("tree")


@pytest.fixture(scope="module")
def toolchain() -> KernelToolchain:
    return find_toolchain(os.environ)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "kernel.elf").write_bytes(b"a kernel")
    toy_tree(tmp_path / "linux", tmp_path / "kernel.elf")
    _age(tmp_path / "linux")
    return tmp_path / "linux"


def _age(tree: Path) -> None:
    """Sources are older than what is made of them, also where clocks are coarse."""
    for path in tree.rglob("*"):
        if path.is_file():
            os.utime(path, (1_000_000_000, 1_000_000_000))


def compiled(source: Path, kconfig: Kconfig, toolchain: KernelToolchain, **more: object) -> Built:
    out = source if kconfig is TREE else source.parent / "out"
    options = CompileOptions(2, source.parent / "log", **more)  # type: ignore[arg-type]
    return compile_kernel(source, out, kconfig, toolchain, options)


def objects(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "kernel").glob("*.o")}


def configured(source: Path) -> int:
    """How often the tree was configured."""
    return (source.parent / "log").read_text().count(" tinyconfig\n")


def test_a_build_has_what_was_asked_for_and_counts_its_files(source: Path, toolchain: KernelToolchain) -> None:
    built = compiled(source, MINIMAL, toolchain)
    assert (built.release, built.steps) == ("6.99.0-toy", OBJECTS + 1)
    assert built.vmlinux.read_bytes() == b"a kernel"
    final = options(built.config)
    assert final["CONFIG_SCHED_CLASS_EXT"] == "y" and final["CONFIG_NR_CPUS"] == "512"
    assert "CONFIG_PSI" not in final


def test_full_starts_from_defconfig(source: Path, toolchain: KernelToolchain) -> None:
    compiled(source, load_kconfig(["full"], source), toolchain)
    assert " defconfig\n" in (source.parent / "log").read_text()


def test_an_unchanged_tree_is_neither_configured_nor_compiled_again(source: Path, toolchain: KernelToolchain) -> None:
    compiled(source, MINIMAL, toolchain)
    before = objects(source.parent / "out")
    assert compiled(source, MINIMAL, toolchain).steps is None
    assert (objects(source.parent / "out"), configured(source)) == (before, 1)


def test_an_interrupted_build_goes_on_where_it_stopped(source: Path, toolchain: KernelToolchain) -> None:
    enough = Cancel()

    def stop(progress: Steps) -> None:
        if progress.done >= 4:
            enough.set()

    with pytest.raises(HostError, match="interrupted"):
        compiled(source, MINIMAL, toolchain, cancel=enough, on_progress=stop)
    before = objects(source.parent / "out")
    assert 2 <= len(before) < OBJECTS
    built = compiled(source, MINIMAL, toolchain)
    after = objects(source.parent / "out")
    assert {name: after[name] for name in before} == before
    assert (len(after), built.steps, configured(source)) == (OBJECTS, None, 1)


def test_an_edited_source_alone_is_compiled_again(source: Path, toolchain: KernelToolchain) -> None:
    compiled(source, MINIMAL, toolchain)
    before = objects(source.parent / "out")
    (source / "kernel/part3.c").write_text("int changed;\n")
    compiled(source, MINIMAL, toolchain)
    after = objects(source.parent / "out")
    assert [name for name in after if after[name] != before[name]] == ["part3.o"]


def test_new_kconfig_files_configure_again_and_compile_nothing_that_stayed(
    source: Path, toolchain: KernelToolchain
) -> None:
    compiled(source, MINIMAL, toolchain)
    before = objects(source.parent / "out")
    (source / "Kconfig").write_text("config SMP\n\tbool\nconfig NEW\n\tbool\n")
    compiled(source, MINIMAL, toolchain)
    assert (objects(source.parent / "out"), configured(source)) == (before, 2)


@pytest.mark.parametrize("what", ["kconfig", "toolchain"])
def test_another_kconfig_or_toolchain_configures_again(source: Path, toolchain: KernelToolchain, what: str) -> None:
    compiled(source, MINIMAL, toolchain)
    if what == "kconfig":
        final = options(compiled(source, HZ1000, toolchain).config)
        assert "CONFIG_HZ_1000" in final and "CONFIG_HZ_250" not in final
    else:
        newer = {**toolchain.versions, "cc": "gcc 99"}
        compiled(source, MINIMAL, dataclasses.replace(toolchain, versions=newer))
    assert configured(source) == 2


def test_clean_compiles_all_of_it_again(source: Path, toolchain: KernelToolchain) -> None:
    compiled(source, MINIMAL, toolchain)
    assert compiled(source, MINIMAL, toolchain, clean=True).steps == OBJECTS + 1


def test_a_lost_option_stops_before_anything_is_compiled(source: Path, toolchain: KernelToolchain) -> None:
    (source / "lose").write_text("CONFIG_CPUSETS\n")
    with pytest.raises(LostOptions, match=r"CONFIG_CPUSETS=y \(kconfig/ktstr.kconfig:\d+\): Cgroups as tests"):
        compiled(source, MINIMAL, toolchain)
    assert objects(source.parent / "out") == {}
    (source / "lose").unlink()
    assert "CONFIG_CPUSETS" in options(compiled(source, MINIMAL, toolchain).config)


def test_a_configuration_that_somebody_changed_or_left_half_made_is_made_again(
    source: Path, toolchain: KernelToolchain
) -> None:
    config = source.parent / "out/.config"
    whole = compiled(source, MINIMAL, toolchain).config
    config.write_text(whole.replace("CONFIG_CPUSETS=y\n", ""))
    assert options(compiled(source, MINIMAL, toolchain).config) == options(whole)
    makefile = (source / "Makefile").read_text()
    (source / "Makefile").write_text(makefile.replace("olddefconfig:\n", "olddefconfig:\n\t@false\n"))
    with pytest.raises(HostError, match="make olddefconfig failed"):
        compiled(source, HZ1000, toolchain)
    (source / "Makefile").write_text(makefile)
    assert options(compiled(source, MINIMAL, toolchain).config) == options(whole)


def test_a_trees_own_configuration_is_built_in_place_and_left_alone(source: Path, toolchain: KernelToolchain) -> None:
    configure(source, "".join(f"{symbol}=y\n" for symbol in BOOTS))
    os.utime(source / ".config", (1_000_000_001, 1_000_000_001))
    was = (source / ".config").read_bytes(), (source / ".config").stat().st_mtime_ns
    built = compiled(source, TREE, toolchain)
    assert (built.vmlinux, built.config) == (source / "vmlinux", was[0].decode())
    compiled(source, TREE, toolchain, clean=True)
    assert ((source / ".config").read_bytes(), (source / ".config").stat().st_mtime_ns) == was
    assert not (source.parent / "out").exists()


def test_a_trees_own_configuration_that_cannot_boot_is_not_built(source: Path, toolchain: KernelToolchain) -> None:
    configure(source, "CONFIG_64BIT=y\n")
    with pytest.raises(LostOptions, match="lacks what a guest boots and reports with: CONFIG_PVH, CONFIG_ACPI"):
        compiled(source, TREE, toolchain)
    assert objects(source) == {}


def test_a_make_that_leaves_no_vmlinux_is_an_error(source: Path, toolchain: KernelToolchain) -> None:
    makefile = source / "Makefile"
    makefile.write_text(makefile.read_text().replace("@chmod u+w vmlinux", "@rm vmlinux"))
    with pytest.raises(HostError, match="make ended well and left no vmlinux"):
        compiled(source, MINIMAL, toolchain)
