from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.pins.lock import Lock, Pin
from ktstr.tools.bundle import Recipe, ensure, lookup, pin, resolve, upstream
from tests.host.archive import Archive
from tests.host.waits import cancelled_soon, held_elsewhere

LIB = "usr/lib/x86_64-linux-gnu"
RECIPE = Recipe(
    name="demo",
    suite="forky",
    closure=("demo",),
    kept=("demo-data",),
    programs=("usr/bin/demo",),
    files=(("usr/share/demo/*.bin", "usr/share/demo"),),
    main="demo",
)
EXITS = (
    'void leave(int code) {{ __asm__ volatile("syscall" :: "a"(60), "D"(code)); }}\nint value(void) {{ return {}; }}\n'
)
START = "void leave(int); int value(void); void _start(void) { leave(value()); }\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that exits with the number its library gives."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "lib.c").write_text(EXITS.format(42))
    (folder / "demo.c").write_text(START)
    for words in (
        "-O1 -shared -fPIC -nostdlib -Wl,-soname,libdemo.so.1 -o libdemo.so.1 lib.c",
        "-O1 -nostdlib -o demo demo.c libdemo.so.1",
    ):
        subprocess.run(["gcc", *words.split()], cwd=folder, check=True)
    return folder


def publish(archive: Archive, files: Path, version: str = "1:2.5+ds-1", link: Path = Path("libdemo.so.1.0")) -> None:
    """demo needs libdemo1 by its ELF file, and libextra1 only by its package."""
    loader = Path("/lib64/ld-linux-x86-64.so.2").read_bytes()
    archive.serve(
        "forky",
        archive.deb("libc6", "9", {"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": loader}),
        archive.deb(
            "libdemo1",
            version,
            {f"{LIB}/libdemo.so.1.0": (files / "libdemo.so.1").read_bytes(), f"{LIB}/libdemo.so.1": link},
        ),
        archive.deb("libextra1", "1", {f"{LIB}/libextra.so.1": b"never linked"}),
        archive.deb("demo-data", "1", {"usr/share/demo/rom.bin": b"rom", "usr/share/demo/manual.txt": b"left out"}),
        archive.deb(
            "demo", version, {"usr/bin/demo": (files / "demo").read_bytes()}, depends="libc6, libdemo1, libextra1"
        ),
    )


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def apt(archive: Archive, cache: Cache, files: Path) -> Apt:
    publish(archive, files)
    return archive.machine(cache.apt)


def test_a_pin_holds_what_the_program_links_to_and_what_the_recipe_keeps(apt: Apt) -> None:
    found = pin(RECIPE, apt)
    assert found.version == "2.5"
    assert [package.name for package in found.packages] == ["demo", "demo-data", "libc6", "libdemo1"]


def test_a_locked_pin_is_used_until_an_update_is_asked_for(apt: Apt, archive: Archive, files: Path) -> None:
    locked = pin(RECIPE, apt)
    publish(archive, files, "1:2.6+ds-1")
    archive.requests.clear()
    assert resolve(RECIPE, locked, apt) == locked
    assert archive.requests == []
    assert resolve(RECIPE, locked, apt, update=True).version == "2.6"


def test_a_bundle_runs_by_its_own_loader_and_libraries(apt: Apt, cache: Cache) -> None:
    found = ensure(RECIPE, pin(RECIPE, apt), cache, apt)
    words = found.argv("usr/bin/demo")
    assert subprocess.run(words, env={}, check=False).returncode == 42
    listed = subprocess.run([words[0], "--list", *words[1:]], env={}, capture_output=True, text=True, check=True).stdout
    assert f"libdemo.so.1 => {found.folder}/usr/lib/libdemo.so.1" in listed


def test_a_command_of_a_bundle_runs_by_name_wherever_the_bundle_lies(apt: Apt, cache: Cache, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, commands=("usr/bin/demo",))
    found = ensure(recipe, pin(recipe, apt), cache, apt)
    moved = found.folder.rename(tmp_path / "another place")
    for folder in (moved / "commands", moved / "commands/../commands"):
        assert subprocess.run(["demo"], env={"PATH": str(folder)}, check=False).returncode == 42
    assert [path.name for path in (moved / "commands").iterdir()] == ["demo"]


def test_a_bundle_holds_only_what_its_recipe_says(apt: Apt, cache: Cache) -> None:
    found = ensure(RECIPE, pin(RECIPE, apt), cache, apt)
    assert sorted(str(path.relative_to(found.folder)) for path in found.folder.rglob("*") if path.is_file()) == [
        "tool.json",
        "usr/bin/demo",
        "usr/lib/ld-linux-x86-64.so.2",
        "usr/lib/libdemo.so.1",
        "usr/share/demo/rom.bin",
    ]
    told = json.loads(found.metadata.read_text())
    assert (told["name"], told["version"], told["digest"]) == ("demo", "2.5", found.digest)
    assert [path.name for path in (cache.root / "tools").iterdir()] == [found.digest]


def test_a_second_call_asks_nothing(apt: Apt, cache: Cache, archive: Archive) -> None:
    pinned = pin(RECIPE, apt)
    first = ensure(RECIPE, pinned, cache, apt)
    archive.requests.clear()
    assert (
        ensure(RECIPE, pinned, cache, dataclasses.replace(apt, offline=True)) == first == lookup(RECIPE, pinned, cache)
    )
    assert archive.requests == []


@pytest.mark.parametrize("damage", ["library gone", "program cut", "metadata cut", "older format"])
def test_a_damaged_bundle_is_made_again(apt: Apt, cache: Cache, damage: str) -> None:
    pinned = pin(RECIPE, apt)
    found = ensure(RECIPE, pinned, cache, apt)
    if damage == "library gone":
        (found.folder / "usr/lib/libdemo.so.1").unlink()
    elif damage == "program cut":
        (found.folder / "usr/bin/demo").write_bytes(b"\x7fELF")
    elif damage == "metadata cut":
        found.metadata.write_text(found.metadata.read_text()[:40])
    else:
        found.metadata.write_text(found.metadata.read_text().replace('"format": 1', '"format": 0'))
    assert lookup(RECIPE, pinned, cache) is None
    again = ensure(RECIPE, pinned, cache, apt)
    assert subprocess.run(again.argv("usr/bin/demo"), env={}, check=False).returncode == 42


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("{", "[" * 100_000 + "{"),
        ('"format": 1', '"format": 1, "format": 1'),
        ('"format": 1', '"format": true'),
        ('"format": 1', '"format": 1, "more": 1'),
        ('"name": "demo"', '"name": "other"'),
        ('"version": "2.5"', '"version": 2.5'),
        ('"files": {', '"files": {"a\\u0000b": 1, '),
        ('"files": {', '"files": {"\\ud800": 1, '),
        ('"files": {', '"files": {"tool.json": -1, '),
        ('"usr/bin/demo": ', '"tool.json": '),
    ],
)
def test_metadata_that_is_not_exactly_a_bundles_is_no_bundle(apt: Apt, cache: Cache, found: str, instead: str) -> None:
    pinned = pin(RECIPE, apt)
    made = ensure(RECIPE, pinned, cache, apt)
    text = made.metadata.read_text()
    assert found in text
    made.metadata.write_text(text.replace(found, instead, 1))
    assert lookup(RECIPE, pinned, cache) is None
    assert ensure(RECIPE, pinned, cache, apt) == made


def test_two_that_ask_at_once_fetch_once(apt: Apt, cache: Cache, archive: Archive) -> None:
    pinned = pin(RECIPE, apt)
    archive.requests.clear()
    found = []
    threads = [threading.Thread(target=lambda: found.append(ensure(RECIPE, pinned, cache, apt))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert sorted(path.rpartition("/")[2].partition("_")[0] for path in archive.requests) == [
        "demo",
        "demo-data",
        "libc6",
        "libdemo1",
    ]


def test_a_link_out_of_its_package_is_refused(archive: Archive, cache: Cache, files: Path, tmp_path: Path) -> None:
    outside = tmp_path / "host-library"
    shutil.copy(files / "libdemo.so.1", outside)
    publish(archive, files, link=outside)
    apt = archive.machine(cache.apt)
    every = {package.name: package for package in apt.closure("forky", ["demo"])}
    data = apt.resolve("forky", "demo-data")
    pinned = Pin("2.5", (*(every[name] for name in ("demo", "libc6", "libdemo1")), data))
    with pytest.raises(HostError, match=r"found no such file in its package, or a link out of it"):
        ensure(RECIPE, pinned, cache, apt)
    assert list((cache.root / "tools").iterdir()) == []


def test_a_program_with_a_library_in_no_package_names_it(apt: Apt, cache: Cache) -> None:
    pinned = pin(RECIPE, apt)
    short = Pin(pinned.version, tuple(package for package in pinned.packages if package.name != "libdemo1"))
    with pytest.raises(HostError, match=r"demo needs libdemo\.so\.1, which none of its packages has") as caught:
        ensure(RECIPE, short, cache, apt)
    assert caught.value.fix == "lock_update=demo"


def test_a_file_the_archive_dropped_names_what_it_serves_now(
    apt: Apt, archive: Archive, cache: Cache, files: Path
) -> None:
    pinned = pin(RECIPE, apt)
    for package in pinned.packages:
        if package.name in ("demo", "libdemo1"):
            (archive.folder / package.path).unlink()
    publish(archive, files, "1:2.6+ds-1")
    with pytest.raises(HostError, match=r"demo: forky now serves 1:2\.6\+ds-1, pinned is 1:2\.5\+ds-1") as caught:
        ensure(RECIPE, pinned, cache, apt)
    assert caught.value.fix == "pin the new version: lock_update=demo"
    assert list((cache.root / "tools").iterdir()) == []


def test_upstream_drops_epoch_and_debian_revision() -> None:
    assert [upstream(text) for text in ("1:10.0.2+ds-2~bpo12+1", "7.5.0+6.12.95-1", "3")] == ["10.0.2", "7.5.0", "3"]
    assert Lock().tools == {}


def test_a_cancelled_wait_for_another_process_fetches_nothing(apt: Apt, archive: Archive, tmp_path: Path) -> None:
    pinned, asked, cancel = pin(RECIPE, apt), len(archive.requests), Cancel()
    cache = Cache(tmp_path / "another", cancel)
    own = dataclasses.replace(apt, cancel=cancel)
    with held_elsewhere(cache.lock_file("tools", pinned.digest)), cancelled_soon(cancel):
        ensure(RECIPE, pinned, cache, own)
    with pytest.raises(Cancelled):
        ensure(RECIPE, pinned, cache, own)
    assert len(archive.requests) == asked and not (cache.root / "tools").exists()
