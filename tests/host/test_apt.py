from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt, Gone, gone, suites_for
from ktstr.host.deb import DebPackage
from tests.host.archive import Archive
from tests.host.waits import cancelled_soon, held_elsewhere, silent_server


@pytest.fixture
def machine(archive: Archive, tmp_path: Path) -> Apt:
    """A machine whose archive's forky has hello 1.0, which depends on libhello."""
    library = archive.deb("libhello1", "1:2.0-1", {"usr/lib/libhello.so.1": b"lib"})
    program = archive.deb(
        "hello-tool", "1.0-1", {"usr/bin/hello": b"hi"}, depends="libhello1 (>= 1:2.0), libhello1 | x"
    )
    other = archive.deb("unrelated", "3", {"usr/bin/no": b""})
    archive.serve("forky", library, program, other)
    return archive.machine(tmp_path / "apt")


def test_a_suite_the_machine_does_not_use_is_resolved_from_its_mirror(machine: Apt, archive: Archive) -> None:
    found = machine.resolve("forky", "libhello1")
    raw = (archive.folder / "pool/libhello1_1:2.0-1_amd64.deb").read_bytes()
    assert found == DebPackage(
        "libhello1",
        "1:2.0-1",
        "amd64",
        "forky",
        "pool/libhello1_1:2.0-1_amd64.deb",
        len(raw),
        hashlib.sha256(raw).hexdigest(),
    )


def test_the_second_resolution_reads_the_lists_it_has(machine: Apt, archive: Archive) -> None:
    machine.resolve("forky", "hello-tool")
    asked = len(archive.requests)
    machine.resolve("forky", "unrelated")
    assert len(archive.requests) == asked


def test_closure_holds_dependencies_and_nothing_else(machine: Apt) -> None:
    found = machine.closure("forky", ["hello-tool"])
    assert [package.name for package in found] == ["hello-tool", "libhello1"]
    assert found[1] == machine.resolve("forky", "libhello1")
    assert machine.depends("forky", "hello-tool") == ("libhello1", "libhello1", "x")


def test_an_unknown_package_gets_the_nearest_name(machine: Apt) -> None:
    with pytest.raises(InputError, match="package hello-tol: suite forky has none of that name; nearest is hello-tool"):
        machine.resolve("forky", "hello-tol")


def test_an_unknown_suite_is_the_users_mistake(machine: Apt) -> None:
    with pytest.raises(InputError, match=r"suite frky: the archive has no such suite; nearest is forky"):
        machine.update("frky")


@pytest.mark.parametrize("suite", ["", "../x", "a b", "forky/../x", "Forky"])
def test_a_suite_that_is_no_name_never_reaches_apt(machine: Apt, archive: Archive, suite: str) -> None:
    with pytest.raises(InputError, match="characters that no Debian suite has"):
        machine.update(suite)
    assert archive.requests == []


def test_download_fetches_and_checks(machine: Apt, tmp_path: Path) -> None:
    package = machine.resolve("forky", "hello-tool")
    files = machine.download([package], tmp_path / "out")
    assert hashlib.sha256(files["hello-tool"].read_bytes()).hexdigest() == package.sha256


def test_a_pinned_package_needs_no_lists(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    package = machine.resolve("forky", "hello-tool")
    archive.requests.clear()
    Apt(tmp_path / "fresh", environ=machine.environ).download([package], tmp_path / "out")
    assert archive.requests == ["/debian/pool/hello-tool_1.0-1_amd64.deb"]


def test_a_tampered_file_of_the_same_size_is_refused(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    package = machine.resolve("forky", "hello-tool")
    file = archive.folder / package.path
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(HostError, match="another file than the one pinned"):
        machine.download([package], tmp_path / "out")


def test_a_truncated_file_is_refused(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    package = machine.resolve("forky", "hello-tool")
    file = archive.folder / package.path
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(HostError):
        machine.download([package], tmp_path / "out")


def test_a_file_the_suite_dropped_says_what_it_serves_now(machine: Apt, archive: Archive, tmp_path: Path) -> None:
    package = machine.resolve("forky", "hello-tool")
    (archive.folder / package.path).unlink()
    archive.serve("forky", archive.deb("hello-tool", "1.1-1", {"usr/bin/hello": b"new"}))
    with pytest.raises(Gone) as caught:
        machine.download([package], tmp_path / "out")
    error = gone(machine, [package], "deb:forky/x", caught.value)
    assert "hello-tool: forky now serves 1.1-1, pinned is 1.0-1" in error.message
    assert error.fix == "pin the new version: lock_update=deb:forky/x"


def test_an_unsigned_archive_is_refused(archive: Archive, tmp_path: Path) -> None:
    archive.serve("forky", archive.deb("hello-tool", "1.0", {"usr/bin/hello": b"hi"}))
    archive.trusted = False
    with pytest.raises(HostError, match=r"signature cannot be verified"):
        archive.machine(tmp_path / "apt").update("forky")


def test_offline_names_what_it_would_fetch_and_asks_nothing(archive: Archive, tmp_path: Path) -> None:
    apt = archive.machine(tmp_path / "apt", offline=True)
    with pytest.raises(HostError, match="offline=1: the package lists of forky"):
        apt.resolve("forky", "hello-tool")
    package = DebPackage("a", "1", "amd64", "forky", "pool/a_1_amd64.deb", 1, "0" * 64)
    with pytest.raises(HostError, match=r"offline=1: these would be fetched: a_1_amd64\.deb"):
        apt.download([package], tmp_path / "out")
    assert archive.requests == []


def test_a_dead_mirror_is_no_network(archive: Archive, tmp_path: Path) -> None:
    apt = archive.machine(tmp_path / "apt", source="deb [trusted=yes] http://127.0.0.1:9/debian bookworm main\n")
    with pytest.raises(HostError, match="no network to the package mirror"):
        apt.update("forky")


def test_a_machine_without_a_debian_source_is_told_what_to_add(archive: Archive, tmp_path: Path) -> None:
    apt = archive.machine(tmp_path / "apt", source="deb http://127.0.0.1:9/ubuntu noble main\n")
    with pytest.raises(HostError, match="apt on this machine has no Debian source") as caught:
        apt.update("forky")
    assert caught.value.fix is not None and "sources.list.d" in caught.value.fix


def test_a_machine_without_apt_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="apt-config is not on this machine"):
        Apt(tmp_path, environ={"PATH": str(tmp_path)}).update("forky")


def test_a_mirror_list_is_followed(archive: Archive, tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text(f"# mine\n{archive.uri}/\tpriority:1\n")
    apt = archive.machine(tmp_path / "apt", source=f"deb [trusted=yes] mirror+file:{mirrors} bookworm main\n")
    assert apt.source("forky").uri == archive.uri


def test_backports_and_security_build_on_their_base() -> None:
    assert suites_for("bookworm-backports") == ("bookworm-backports", "bookworm")
    assert suites_for("trixie-security") == ("trixie-security", "trixie")
    assert suites_for("forky") == ("forky",)


def test_the_systems_apt_state_is_left_alone(machine: Apt, tmp_path: Path) -> None:
    lists = Path("/var/lib/apt/lists")
    before = sorted(path.name for path in lists.iterdir())
    machine.closure("forky", ["hello-tool"])
    assert sorted(path.name for path in lists.iterdir()) == before


def test_an_update_from_a_mirror_that_says_nothing_is_ended_at_once(archive: Archive, tmp_path: Path) -> None:
    with silent_server() as port:
        source = f"deb [trusted=yes] http://127.0.0.1:{port}/debian forky main\n"
        cancel = Cancel()
        machine = replace(archive.machine(tmp_path / "apt", source=source), cancel=cancel)
        before = psutil.Process().children(recursive=True)
        with cancelled_soon(cancel, 2.0):
            machine.update("forky")
        left = [process for process in psutil.Process().children(recursive=True) if process not in before]
        assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_cancelled_wait_for_the_lists_begins_nothing_more(archive: Archive, tmp_path: Path) -> None:
    archive.serve("forky", archive.deb("a", "1", {}))
    cancel = Cancel()
    machine = replace(archive.machine(tmp_path / "apt"), cancel=cancel)
    with held_elsewhere(tmp_path / "apt/forky/lock"), cancelled_soon(cancel, 1.0):
        machine.resolve("forky", "a")
    package = DebPackage("a", "1", "amd64", "forky", "pool/a_1_amd64.deb", 1, "0" * 64)
    for begin in (lambda: machine.update("forky"), lambda: machine.download([package], tmp_path / "out")):
        with pytest.raises(Cancelled):
            begin()
    assert archive.requests == []


def test_experimental_leans_on_sid_and_sloppy_backports_on_backports() -> None:
    assert suites_for("experimental") == ("experimental", "sid")
    assert suites_for("rc-buggy") == ("rc-buggy", "sid")
    assert suites_for("trixie-backports-sloppy") == ("trixie-backports-sloppy", "trixie-backports", "trixie")
    assert suites_for("sid") == ("sid",)


def test_a_package_of_experimental_gets_what_it_depends_on_from_sid(archive: Archive, tmp_path: Path) -> None:
    older = [archive.deb(name, version, {}) for name, version in (("hello-tool", "1.0"), ("libhello1", "2"))]
    archive.serve("sid", *older, archive.deb("linux-base", "4", {}))
    newer = archive.deb("hello-tool", "1.1~exp1", {}, depends="libhello1 (>= 2), linux-base")
    archive.serve("experimental", newer, more="NotAutomatic: yes\n")
    machine = archive.machine(tmp_path / "apt")
    found = machine.closure("experimental", ["hello-tool"])
    assert {package.name: package.version for package in found} == {
        "hello-tool": "1.1~exp1",
        "libhello1": "2",
        "linux-base": "4",
    }
    assert machine.resolve("experimental", "hello-tool").version == "1.1~exp1"
