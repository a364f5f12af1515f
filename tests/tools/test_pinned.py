from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.pins.lock import read_lock
from ktstr.tools.bundle import Bundle
from ktstr.tools.pinned import (
    RECIPES,
    ensure_bpf,
    lookup_bpf,
    lookup_qemu,
    qemu_tool,
    resolve_tool,
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


@pytest.mark.network
def test_the_pinned_bpf_tools_come_from_the_real_archive_and_run(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    tools = ensure_bpf(LOCK.tools["bpf"], cache, Apt(cache.apt))
    said = subprocess.run([*tools.bpftool, "version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("bpftool v7.5.")
    header = (tools.include_dir / "bpf/libbpf_version.h").read_text()
    assert "LIBBPF_MAJOR_VERSION 1" in header and "LIBBPF_MINOR_VERSION 4" in header
    assert tools.libbpf_a.read_bytes().startswith(b"!<arch>\n")


@pytest.mark.network
def test_the_pinned_qemu_runs_with_tcg() -> None:
    cache = Cache(cache_root(os.environ))
    from ktstr.tools.pinned import ensure_qemu

    tool = ensure_qemu(LOCK.tools["qemu"], cache, Apt(cache.apt))
    said = subprocess.run(
        [*tool.argv_prefix, "-L", str(tool.data_dir), "-accel", "help"],
        env=dict(tool.env),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "tcg" in said.split()
