from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt, Gone
from ktstr.kernels.debsrc import fetch_source, pin_same_source, pin_source, source_suites
from ktstr.kernels.spec import DebSpec
from ktstr.pins.lock import Pin
from tests.host.archive import Archive

BOTH = "deb [trusted=yes] {0} bookworm main\ndeb [trusted=yes] {0} bookworm-security main\n"


def source_tar(series: str, makefile: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:xz") as tar:
        for name, text in {"Makefile": makefile, "Kconfig": "", "kernel/sched/core.c": "int x;\n"}.items():
            info = tarfile.TarInfo(f"linux-source-{series}/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


def source_deb(archive: Archive, series: str, version: str) -> Path:
    content = source_tar(series, f"VERSION = {version}\n")
    return archive.deb(f"linux-source-{series}", version, {f"usr/src/linux-source-{series}.tar.xz": content})


@pytest.fixture
def machine(archive: Archive, tmp_path: Path) -> Apt:
    """bookworm has 6.1, its backports 6.12, forky 6.12 and 7.2; the loopback archive knows no other suite."""
    archive.serve("bookworm", source_deb(archive, "6.1", "6.1.170-1"), archive.deb("linux-source", "6.1", {"x": b""}))
    archive.serve("bookworm-backports", source_deb(archive, "6.12", "6.12.95-1~bpo12+1"))
    archive.serve("forky", source_deb(archive, "6.12", "6.12.99-1"), source_deb(archive, "7.2", "7.2.12-1"))
    return archive.machine(tmp_path / "apt")


def test_the_installed_release_goes_before_newer_ones(machine: Apt) -> None:
    assert pin_source("6.1", machine).version == "6.1.170-1"
    pin = pin_source("6.12", machine)
    assert (pin.version, pin.packages[0].suite) == ("6.12.95-1~bpo12+1", "bookworm-backports")
    assert pin_source("7.2", machine).packages[0].suite == "forky"


def test_suites_follow_the_release_and_the_archives_the_machine_has(archive: Archive, tmp_path: Path) -> None:
    alone = source_suites(archive.machine(tmp_path / "a"))
    assert alone[:3] == ("bookworm", "bookworm-backports", "trixie") and alone[-2:] == ("sid", "experimental")
    both = source_suites(archive.machine(tmp_path / "b", source=BOTH.format(archive.uri)))
    assert both[:4] == ("bookworm-security", "bookworm", "bookworm-backports", "trixie-security")
    newer = source_suites(archive.machine(tmp_path / "c", source=f"deb [trusted=yes] {archive.uri} trixie main\n"))
    assert newer[0] == "trixie" and "bookworm" not in newer


def test_a_security_update_goes_before_the_release_it_updates(archive: Archive, tmp_path: Path) -> None:
    archive.serve("bookworm", source_deb(archive, "6.1", "6.1.170-1"))
    archive.serve("bookworm-security", source_deb(archive, "6.1", "6.1.192-2"))
    pin = pin_source("6.1", archive.machine(tmp_path / "apt", source=BOTH.format(archive.uri)))
    assert (pin.version, pin.packages[0].suite) == ("6.1.192-2", "bookworm-security")


def test_pinning_again_asks_the_archive_again(machine: Apt, archive: Archive) -> None:
    pin_source("6.1", machine)
    archive.serve("bookworm", source_deb(archive, "6.1", "6.1.171-1"))
    assert pin_source("6.1", machine).version == "6.1.171-1"


def test_an_unknown_series_lists_those_there_are(machine: Apt) -> None:
    with pytest.raises(InputError, match=r"no package linux-source-6\.11; nearest is 6\.12") as caught:
        pin_source("6.11", machine)
    assert caught.value.fix == "expected one of 6.1, 6.12, 7.2"


def test_offline_asks_nothing(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="offline=1"):
        pin_source("6.12", archive.machine(tmp_path / "apt", offline=True))
    assert archive.requests == []


def test_the_tree_of_a_pinned_package_is_extracted_and_nothing_left_beside_it(machine: Apt, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    folder = tmp_path / "out" / "tree"
    fetch_source(pin_source("7.2", machine), machine, folder, on_bytes=lambda done, total: told.append((done, total)))
    assert (folder / "Makefile").read_text() == "VERSION = 7.2.12-1\n"
    assert (folder / "kernel/sched/core.c").is_file()
    assert [path.name for path in folder.parent.iterdir()] == ["tree"]
    assert told[-1] == (told[-1][1], len(source_tar("7.2", "VERSION = 7.2.12-1\n")))


def test_a_dropped_package_says_what_the_suite_serves_now(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    pin = pin_source("7.2", machine)
    (archive.folder / pin.packages[0].path).unlink()
    archive.serve("forky", source_deb(archive, "7.2", "7.2.13-1"))
    with pytest.raises(HostError, match=r"forky now serves 7\.2\.13-1, pinned is 7\.2\.12-1") as caught:
        fetch_source(pin, machine, tmp_path / "tree", name="NAME")
    assert not isinstance(caught.value, Gone) and caught.value.fix == "pin the new version: lock_update=NAME"


def test_the_sources_of_a_prebuilt_kernel_are_those_of_its_own_version_or_none(machine: Apt, archive: Archive) -> None:
    kernel = DebSpec("forky", "cloud-amd64")
    pin = pin_same_source(kernel, "7.2.12-1", machine)
    assert (pin.version, [package.name for package in pin.packages]) == ("7.2.12-1", ["linux-source-7.2"])
    with pytest.raises(HostError, match=r"linux-source-7\.3 7\.3\.1-1, are not in the suite forky\n"):
        pin_same_source(kernel, "7.3.1-1", machine)
    archive.serve("forky", source_deb(archive, "7.2", "7.2.13-1"))
    with pytest.raises(
        HostError, match=r"7\.2\.12-1, are not in the suite forky any more, which has 7\.2\.13"
    ) as caught:
        pin_same_source(kernel, "7.2.12-1", machine)
    assert caught.value.fix is not None and "lock_update=deb:forky/cloud-amd64" in caught.value.fix


def test_a_package_without_sources_is_refused(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    archive.serve("bookworm", archive.deb("linux-source-6.9", "6.9", {"usr/src/other.tar.xz": b"x"}))
    with pytest.raises(HostError, match=r"found no usr/src/linux-source-6\.9\.tar\.xz"):
        fetch_source(pin_source("6.9", machine), machine, tmp_path / "tree")


def test_a_link_out_of_the_package_is_not_followed(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    outside = tmp_path / "outside.tar.xz"
    outside.write_bytes(source_tar("6.9", ""))
    archive.serve("bookworm", archive.deb("linux-source-6.9", "6.9", {"usr/src/linux-source-6.9.tar.xz": outside}))
    with pytest.raises(HostError, match=r"found no usr/src/linux-source-6\.9\.tar\.xz"):
        fetch_source(pin_source("6.9", machine), machine, tmp_path / "tree")


@pytest.mark.slow
@pytest.mark.network
def test_the_distributions_own_sources(tmp_path: Path) -> None:
    apt = Apt(tmp_path / "apt")
    pin = pin_source("6.12", apt)
    fetch_source(pin, apt, tmp_path / "tree")
    makefile = (tmp_path / "tree/Makefile").read_text()
    sublevel = pin.version.split(".")[2].split("-")[0]
    assert f"VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = {sublevel}\n" in makefile
    assert isinstance(pin, Pin) and (tmp_path / "tree/tools/sched_ext/scx_simple.bpf.c").is_file()
