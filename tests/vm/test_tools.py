from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.lock import read_lock
from ktstr.vm.bundle import Bundle
from ktstr.vm.tools import (
    RECIPES,
    ensure_bpf,
    lookup_bpf,
    lookup_qemu,
    qemu_tool,
    resolve_tool,
    system_bpf,
    tool_metadata,
)

LOCK = read_lock(Path(__file__).parents[2] / "ktstr.lock")


def test_qemu_is_started_by_the_bundles_own_loader(tmp_path: Path) -> None:
    tool = qemu_tool(Bundle("qemu", tmp_path, "10.0.2", "d" * 64))
    assert tool.argv_prefix == (
        f"{tmp_path}/usr/lib/ld-linux-x86-64.so.2",
        "--inhibit-cache",
        "--library-path",
        f"{tmp_path}/usr/lib",
        f"{tmp_path}/usr/bin/qemu-system-x86_64",
    )
    assert tool.data_dir == tmp_path / "usr/share/qemu"
    assert tool.env == {"QEMU_MODULE_DIR": str(tool.module_dir)}


def test_a_pinned_tool_is_resolved_without_apt(tmp_path: Path) -> None:
    nothing = Apt(tmp_path / "apt", environ={"PATH": str(tmp_path)})
    assert {name: resolve_tool(name, LOCK, nothing).digest for name in RECIPES} == {
        name: LOCK.tools[name].digest for name in RECIPES
    }


def test_a_tool_that_is_not_in_the_cache_is_not_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert lookup_qemu(LOCK.tools["qemu"], cache) is None
    assert lookup_bpf(LOCK.tools["bpf"], cache) is None
    digest = LOCK.tools["qemu"].digest
    assert tool_metadata("qemu", LOCK.tools["qemu"], cache) == tmp_path / "tools" / digest / "tool.json"


def test_the_pinned_qemu_has_its_own_c_library_and_firmware() -> None:
    names = {package.name for package in LOCK.tools["qemu"].packages}
    assert {"qemu-system-x86", "qemu-system-data", "seabios", "libc6", "libglib2.0-0"} <= names


def _system(prefix: Path, bpftool: str, libbpf: tuple[int, int]) -> dict[str, str]:
    """A /usr of our own with a bpftool that prints a version, and libbpf's files."""
    for place in ("sbin", "include/bpf", "lib/x86_64-linux-gnu"):
        (prefix / place).mkdir(parents=True)
    program = prefix / "sbin/bpftool"
    program.write_text(f"#!/bin/sh\n{bpftool}\n")
    program.chmod(0o755)
    for name in ("libbpf.a", "libbpf.so.1"):
        (prefix / "lib/x86_64-linux-gnu" / name).write_bytes(b"x")
    text = f"#define LIBBPF_MAJOR_VERSION {libbpf[0]}\n#define LIBBPF_MINOR_VERSION {libbpf[1]}\n"
    (prefix / "include/bpf/libbpf_version.h").write_text(text)
    return {"PATH": str(prefix / "nothing")}


@pytest.mark.parametrize(
    ("bpftool", "libbpf", "enough"),
    [
        ("echo bpftool v7.5.0", (1, 4), True),
        ("echo bpftool v10.0", (2, 0), True),
        ("echo bpftool v7.4.9", (1, 4), False),
        ("echo bpftool v7.5.0", (1, 3), False),
        ("echo WARNING: bpftool not found for kernel; exit 2", (1, 4), False),
    ],
)
def test_the_systems_bpf_tools_serve_only_when_both_are_new_enough(
    tmp_path: Path, bpftool: str, libbpf: tuple[int, int], enough: bool
) -> None:
    found = system_bpf(_system(tmp_path, bpftool, libbpf), tmp_path)
    assert (found is not None) == enough
    if found is not None:
        assert found.bpftool == (str(tmp_path / "sbin/bpftool"),)
        assert found.library_dir == tmp_path / "lib/x86_64-linux-gnu"


@pytest.mark.network
def test_the_pinned_bpf_tools_come_from_the_real_archive_and_run(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    tools = ensure_bpf(LOCK.tools["bpf"], cache, Apt(cache.apt))
    said = subprocess.run([*tools.bpftool, "version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("bpftool v7.5.")
    header = (tools.include_dir / "bpf/libbpf_version.h").read_text()
    assert "LIBBPF_MAJOR_VERSION 1" in header and "LIBBPF_MINOR_VERSION 4" in header
    assert tools.libbpf_a.read_bytes().startswith(b"!<arch>\n")
    assert [path.name for path in tools.library_dir.iterdir()] == ["libbpf.so.1"]


@pytest.mark.network
def test_the_pinned_qemu_runs_with_tcg() -> None:
    cache = Cache(cache_root(os.environ))
    from ktstr.vm.tools import ensure_qemu

    tool = ensure_qemu(LOCK.tools["qemu"], cache, Apt(cache.apt))
    said = subprocess.run(
        [*tool.argv_prefix, "-L", str(tool.data_dir), "-accel", "help"],
        env=dict(tool.env),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "tcg" in said.split()
