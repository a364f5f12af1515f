"""What builds schedulers in tests: the private BPF tools, and a kernel's BTF small enough to read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from ktstr.files import file_sha256
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.pins.lock import read_lock
from ktstr.schedulers.build import SchedulerBinary, build
from ktstr.schedulers.inputs import Inputs, read_inputs
from ktstr.schedulers.toolchain import find_clang, find_toolchain
from ktstr.tools.pinned import BpfTools, ensure_bpf

ROOT = Path(__file__).parent.parent.parent
SCX_KTSTR = ROOT / "schedulers" / "scx_ktstr"


@pytest.fixture(scope="session")
def tools() -> BpfTools:
    """The BPF tools that the repository's lock pins."""
    cache = Cache(cache_root(os.environ))
    pin = read_lock(ROOT / "ktstr.lock").tools["bpf"]
    return ensure_bpf(pin, cache, Apt(cache.apt))


def inputs_now(source: Path, kernel_btf: Path | None, tools: BpfTools) -> Inputs:
    """The inputs of the scheduler in ``source`` for the kernel with that BTF."""
    kernel = "none" if kernel_btf is None else file_sha256(kernel_btf)
    return read_inputs(source, kernel, find_toolchain(tools, os.environ))


def build_now(source: Path, kernel_btf: Path | None, tools: BpfTools, outdir: Path) -> SchedulerBinary:
    """Build what is in ``source``."""
    return build(inputs_now(source, kernel_btf, tools), kernel_btf, outdir)


@pytest.fixture(scope="session")
def kernel_btf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BTF of ``mini_kernel.c``: what a scheduler needs of a kernel, without the kernel."""
    folder = tmp_path_factory.mktemp("btf")
    compiled, raw = folder / "mini_kernel.o", folder / "vmlinux.btf"
    clang = find_clang(os.environ["PATH"])
    source = Path(__file__).parent / "mini_kernel.c"
    subprocess.run([clang, "-target", "bpf", "-g", "-O2", "-c", str(source), "-o", str(compiled)], check=True)
    with compiled.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        assert section is not None, f"{clang} wrote no BTF"
        raw.write_bytes(section.data())
    return raw


@pytest.fixture(scope="session")
def scx_ktstr(kernel_btf: Path, tools: BpfTools, tmp_path_factory: pytest.TempPathFactory) -> SchedulerBinary:
    """scx_ktstr, built from this repository's sources."""
    return build_now(SCX_KTSTR, kernel_btf, tools, tmp_path_factory.mktemp("built") / "scx_ktstr")
