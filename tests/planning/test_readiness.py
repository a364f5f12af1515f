"""What ``doit doctor`` finds, on this host and on ones arranged to lack something."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ktstr.planning import readiness
from ktstr.planning.readiness import Finding


def _environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "KTSTR_CACHE_DIR": str(tmp_path / "cache"), **more}


def _by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {found.name: found for found in findings}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finding, ...]:
    """All of this host's, with the cache of this run of the tests: an empty one has the VMM compiled first."""
    folder = tmp_path_factory.mktemp("doctor")
    cache = os.environ.get("KTSTR_CACHE_DIR") or str(folder / "cache")
    return readiness.examine(folder, _environ(folder, KTSTR_CACHE_DIR=cache))


def test_without_compilers_each_says_what_installs_it(tmp_path: Path) -> None:
    found = _by_name(readiness.examine(tmp_path, _environ(tmp_path, PATH=str(tmp_path))))
    for name in ("gcc", "libc", "clang"):
        assert found[name].ok is False
        assert "apt-get install" in (found[name].fix or "")
    assert found["apt"].ok is False
    assert "apt-get, apt-cache, dpkg-deb" in found["apt"].detail


def test_without_cargo_crates_cannot_be_built_and_that_is_no_failure(tmp_path: Path) -> None:
    found = readiness.crate_builds(_environ(tmp_path, PATH=str(tmp_path)))
    assert found.ok is None and found.detail.startswith("cargo is not installed")
    assert "rustup" in (found.fix or "")
    (tmp_path / "bin").mkdir()
    for name in ("cargo", "rustc"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho {name} 1.95.0\n")
        (tmp_path / "bin" / name).chmod(0o755)
    found = readiness.crate_builds(_environ(tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"))
    assert (found.ok, found.detail) == (True, "cargo 1.95.0, rustc 1.95.0")


def test_libc_is_the_file_that_the_linker_would_take(tmp_path: Path) -> None:
    found = readiness.static_libc(_environ(tmp_path))
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    linked = subprocess.run(["gcc", "-static", "-o", tmp_path / "main", source], check=False).returncode == 0
    assert found.ok is linked
    assert not linked or Path(found.detail).is_file()


def test_apt_without_a_keyring_cannot_verify(tmp_path: Path) -> None:
    found = readiness.apt(_environ(tmp_path), (str(tmp_path / "absent.gpg"),))
    assert found.ok is False
    assert "absent.gpg" in found.detail or "lacks" in found.detail


def test_an_empty_cache_has_no_tools_and_that_is_no_failure(tmp_path: Path) -> None:
    found = _by_name(readiness.cached(_environ(tmp_path)))
    assert (found["qemu"].ok, found["qemu"].fix) == (None, "doit tools")
    assert found["cache size"].detail == "empty"
    assert found["machines"].detail == "0 parked, 0 MiB of at most 8192 MiB"
    assert found["cache"].ok is True
    assert not (tmp_path / "cache").exists()


def test_the_pahole_of_each_kernel_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for version, more in (("v1.24", ", from 7.0 on ktstr's own"), ("v1.30", "")):
        (tmp_path / "bin/pahole").write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / "bin/pahole").chmod(0o755)
        found = readiness.kernel_builds({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
        assert found.ok and found.detail.endswith(f", pahole {version}{more}")
    ours = _by_name(readiness.cached(_environ(tmp_path)))["pahole"]
    assert (ours.ok, ours.detail) == (None, "not fetched yet; the first kernel from 7.0 on fetches it")


def test_a_cached_tool_is_found_and_its_class_measured(tmp_path: Path) -> None:
    binary = tmp_path / "cache/tools/qemu-10.0/usr/bin/qemu-system-x86_64"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(os.urandom(3 << 20))
    found = _by_name(readiness.cached(_environ(tmp_path)))
    assert (found["qemu"].ok, found["qemu"].detail) == (True, str(binary))
    assert found["cache size"].detail == "tools 3 MiB"


def test_parked_machines_are_counted_and_measured(tmp_path: Path) -> None:
    for name in ("a", "b", ".tmp-c-1"):
        (tmp_path / "cache/machines" / name).mkdir(parents=True)
        (tmp_path / "cache/machines" / name / "ram-0.zst").write_bytes(os.urandom(1 << 20))
    found = _by_name(readiness.cached(_environ(tmp_path)))["machines"]
    assert (found.ok, found.detail, found.fix) == (None, "2 parked, 3 MiB of at most 8192 MiB", None)


def test_a_tool_whose_fetch_never_ended_is_not_there(tmp_path: Path) -> None:
    binary = tmp_path / "cache/tools/.tmp-abc-1/usr/bin/qemu-system-x86_64"
    binary.parent.mkdir(parents=True)
    binary.touch()
    assert _by_name(readiness.cached(_environ(tmp_path)))["qemu"].ok is None


def test_a_cache_with_no_place_is_a_failure(tmp_path: Path) -> None:
    (found,) = readiness.cached({"PATH": os.environ["PATH"]})
    assert found.ok is False
    assert "HOME is not set" in found.detail


def test_a_folder_without_the_space_needed_fails_with_both_numbers(tmp_path: Path) -> None:
    found = readiness.folder("cache", tmp_path, 1 << 60, "elsewhere")
    assert (found.ok, found.fix) == (False, "elsewhere")
    assert found.detail.endswith(" GiB free, needs 1073741824.00 GiB")


@pytest.mark.parametrize("name", ["python", "machine", "cpus", "memory", "kvm", "results"])
def test_everything_a_user_may_ask_about_is_there(name: str, findings: tuple[Finding, ...]) -> None:
    assert _by_name(findings)[name].detail


def test_kvm_is_no_need_and_the_machine_that_auto_picks_is_named(findings: tuple[Finding, ...]) -> None:
    found = _by_name(findings)["kvm"]
    assert found.ok in (True, None)
    assert found.detail.endswith("; accel=auto uses kvm" if found.ok else "; accel=auto uses icount")
