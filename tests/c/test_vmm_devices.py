"""Builds the VMM's devices with ASan and UBSan, drives them as a guest's kernel does, and fuzzes them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.c.test_c import C_DIR, FLAGS, HERE, fuzzing_clang, run

DEVICES = (
    "fifo",
    "sink",
    "serial",
    "i8042",
    "pci",
    "msix",
    "virtqueue",
    "virtio_common",
    "virtio_pci",
    "virtio_console",
)
UNITS = ("test_vmm_devices", "test_vmm_console", "test_vmm_transport")
CASES = [
    (unit, name)
    for unit in UNITS
    for name in re.findall(r"^TEST\((\w+)\)", (HERE / f"{unit}.c").read_text(), re.MULTILINE)
]


def build(compiler: str, test: str, out: Path, *flags: str) -> Path:
    """One test program linked with the devices and what they stand on."""
    sources = [str(C_DIR / "core" / f"{name}.c") for name in (*DEVICES, "error", "memory")]
    run(
        [compiler, *FLAGS, "-pthread", *flags, f"-I{C_DIR / 'core'}", str(HERE / f"{test}.c"), *sources, "-o", str(out)]
    )
    return out


@pytest.fixture(scope="session")
def units(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vmm_devices")
    return {unit: build("gcc", unit, folder / unit) for unit in UNITS}


@pytest.mark.parametrize(("unit", "name"), CASES, ids=[name for _, name in CASES])
def test_device(units: dict[str, Path], unit: str, name: str) -> None:
    run([str(units[unit]), name])


def test_every_device_test_is_known_to_its_runner(units: dict[str, Path]) -> None:
    assert len(CASES) >= 45
    for program in units.values():
        done = subprocess.run([str(program), "no_such_test"], capture_output=True, text=True, check=False)
        assert done.returncode == 2


@pytest.mark.parametrize("target", ["fuzz_pci", "fuzz_virtqueue"])
def test_random_guests_break_no_device(target: str, tmp_path: Path) -> None:
    fuzzer = build("gcc", target, tmp_path / target, "-DFUZZ_STANDALONE")
    assert run([str(fuzzer), "1500"]).startswith("1500 inputs, ")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["fuzz_pci", "fuzz_virtqueue"])
def test_libfuzzer_finds_nothing_in_the_devices(target: str, tmp_path: Path) -> None:
    compiler = fuzzing_clang()
    assert compiler is not None, "clang has no libFuzzer here: apt-get install libclang-rt-19-dev"
    fuzzer = build(compiler, target, tmp_path / target, "-fsanitize=fuzzer")
    limits = ["-runs=100000", "-seed=1", "-max_len=2400", "-timeout=10"]
    run([str(fuzzer), *limits, f"-artifact_prefix={tmp_path}/"])
