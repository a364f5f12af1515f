from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from pathlib import Path

import jsonschema
import pytest

from ktstr.errors import Changed, HostError, InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.kernels.cache import metadata_path
from ktstr.kernels.prebuilt import ensure, lookup
from ktstr.kernels.resolve import Resolution, resolve
from ktstr.kernels.spec import DebSpec, ImageSpec
from ktstr.pins.lock import Lock
from tests.host.archive import Archive
from tests.kernels.images import BTF, COMPRESSORS, CONFIG, bzimage, vmlinux

SPEC = DebSpec("forky", "cloud-amd64")
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/kernel_metadata.schema.json").read_text())
RELEASE = "6.99.1+deb99-cloud-amd64"


def publish(archive: Archive, version: str, kernel: bytes) -> None:
    """A suite with kernel packages cut as forky's are: image, binary, base and modules apart."""
    folder = f"usr/lib/modules/{RELEASE}"
    archive.serve(
        "forky",
        archive.deb("linux-image-cloud-amd64", version, {}, depends=f"linux-image-{RELEASE}"),
        archive.deb(
            f"linux-image-{RELEASE}",
            version,
            {},
            depends=", ".join(f"linux-{n}-{RELEASE}" for n in ("binary", "base", "modules")),
        ),
        archive.deb(f"linux-binary-{RELEASE}", version, {f"{folder}/vmlinuz": kernel}),
        archive.deb(f"linux-base-{RELEASE}", version, {f"{folder}/config": CONFIG.encode()}),
        archive.deb(f"linux-modules-{RELEASE}", version, {f"{folder}/a.ko": b"x"}),
        archive.deb("linux-image-amd64", version, {}),
    )


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def apt(archive: Archive, cache: Cache) -> Apt:
    publish(archive, "6.99.1-1", bzimage(COMPRESSORS["zstd"](vmlinux())))
    return archive.machine(cache.apt)


def _temporaries(cache: Cache) -> list[str]:
    return [path.name for path in (cache.root / "kernels").iterdir() if path.name.startswith(".")]


def test_a_distribution_kernel_becomes_an_entry_with_vmlinux_btf_and_config(apt: Apt, cache: Cache) -> None:
    found = resolve(SPEC, Lock(), cache, apt)
    assert found.pin is not None
    assert [package.name for package in found.pin.packages] == [
        f"linux-{part}-{RELEASE}" for part in ("base", "binary", "image")
    ]
    entry = ensure(found, cache, apt)
    assert entry.key == "deb-forky-6.99.1-1-cloud-amd64-amd64"
    assert (entry.version, entry.sched_ext) == ("6.99.1-test", True)
    assert entry.vmlinux.read_bytes() == vmlinux()
    assert entry.digest == hashlib.sha256(vmlinux()).hexdigest()
    assert entry.btf is not None and entry.btf.read_bytes() == BTF
    assert (entry.metadata.parent / "config").read_text() == CONFIG
    assert entry.metadata == metadata_path(found.key, cache)
    jsonschema.validate(json.loads(entry.metadata.read_text()), SCHEMA)
    assert sorted(path.name for path in entry.metadata.parent.iterdir()) == [
        "config",
        "metadata.json",
        "vmlinux",
        "vmlinux.btf",
    ]


def test_a_pinned_kernel_in_the_cache_makes_no_request(apt: Apt, cache: Cache, archive: Archive) -> None:
    first = resolve(SPEC, Lock(), cache, apt)
    assert first.pin is not None
    entry = ensure(first, cache, apt)
    archive.requests.clear()
    again = resolve(SPEC, Lock().with_kernel(str(SPEC), first.pin), cache, dataclasses.replace(apt, offline=True))
    assert again == first
    assert ensure(again, cache, apt) == lookup(again, cache) == entry
    assert archive.requests == []


def test_a_pin_is_kept_when_the_suite_moves_and_changed_by_update_only(
    apt: Apt, cache: Cache, archive: Archive
) -> None:
    first = resolve(SPEC, Lock(), cache, apt)
    assert first.pin is not None
    lock = Lock().with_kernel(str(SPEC), first.pin)
    publish(archive, "6.99.2-1", bzimage(COMPRESSORS["xz"](vmlinux())))
    assert resolve(SPEC, lock, cache, apt).version == "6.99.1-1"
    moved = resolve(SPEC, lock, cache, apt, update=True)
    assert moved.version == "6.99.2-1"
    assert moved.key == "deb-forky-6.99.2-1-cloud-amd64-amd64"


def test_a_pinned_file_that_is_gone_says_what_is_served_and_leaves_nothing(
    apt: Apt, cache: Cache, archive: Archive
) -> None:
    first = resolve(SPEC, Lock(), cache, apt)
    assert first.pin is not None
    for package in first.pin.packages:
        (archive.folder / package.path).unlink()
    publish(archive, "6.99.2-1", bzimage(COMPRESSORS["xz"](vmlinux())))
    with pytest.raises(HostError, match=r"forky now serves 6\.99\.2-1, pinned is 6\.99\.1-1") as caught:
        ensure(first, cache, apt)
    assert caught.value.fix == "pin the new version: lock_update=deb:forky/cloud-amd64"
    assert lookup(first, cache) is None
    assert _temporaries(cache) == []


def test_offline_with_an_empty_cache_names_the_files(apt: Apt, cache: Cache) -> None:
    found = resolve(SPEC, Lock(), cache, apt)
    with pytest.raises(HostError, match=r"offline=1: these would be fetched: linux-base-.*\.deb"):
        ensure(found, cache, dataclasses.replace(apt, offline=True))


def test_an_unknown_flavour_gets_the_nearest(apt: Apt, cache: Cache) -> None:
    with pytest.raises(InputError, match="no flavour clod-amd64; nearest is cloud-amd64") as caught:
        resolve(DebSpec("forky", "clod-amd64"), Lock(), cache, apt)
    assert caught.value.fix == "expected one of amd64, cloud-amd64"


def test_a_package_whose_image_is_damaged_is_refused_and_not_stored(cache: Cache, archive: Archive) -> None:
    publish(archive, "1-1", bzimage(COMPRESSORS["zstd"](vmlinux())[:-9]))
    apt = archive.machine(cache.apt)
    with pytest.raises(HostError, match=r"vmlinuz: its payload unpacks to 0 bytes, its trailer says \d+ \(damaged\?\)"):
        ensure(resolve(SPEC, Lock(), cache, apt), cache, apt)
    assert list((cache.root / "kernels").iterdir()) == []


def _image(cache: Cache, apt: Apt, path: Path) -> Resolution:
    return resolve(ImageSpec(path), Lock(), cache, apt)


def test_an_image_by_path_is_keyed_by_its_bytes(apt: Apt, cache: Cache, archive: Archive, tmp_path: Path) -> None:
    raw = bzimage(COMPRESSORS["gzip"](vmlinux(config=CONFIG)))
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(raw)
    found = _image(cache, apt, tmp_path / "one")
    assert (found.key, found.pin) == (f"image-{hashlib.sha256(raw).hexdigest()[:12]}", None)
    entry = ensure(found, cache, apt)
    assert (entry.version, entry.sched_ext) == ("6.99.1-test", True)
    assert lookup(_image(cache, apt, tmp_path / "two"), cache) == entry
    jsonschema.validate(json.loads(entry.metadata.read_text()), SCHEMA)
    assert archive.requests == []


def test_an_image_that_is_replaced_after_it_was_digested_is_not_stored(apt: Apt, cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(bzimage(COMPRESSORS["gzip"](vmlinux(config=CONFIG))))
    found = _image(cache, apt, path)
    path.write_bytes(bzimage(COMPRESSORS["zstd"](vmlinux(config=CONFIG))))
    with pytest.raises(Changed, match="bzImage changed while ktstr was running"):
        ensure(found, cache, apt)
    assert lookup(found, cache) is None
    assert _temporaries(cache) == []


def test_a_file_that_is_no_kernel_is_refused_when_resolved(apt: Apt, cache: Cache) -> None:
    with pytest.raises(InputError, match="/etc/passwd: is no kernel: first bytes are"):
        _image(cache, apt, Path("/etc/passwd"))
    with pytest.raises(InputError, match="/nosuch: cannot be read"):
        _image(cache, apt, Path("/nosuch"))


@pytest.mark.parametrize("damage", ["vmlinux gone", "vmlinux cut", "no metadata", "cut metadata", "other identity"])
def test_a_damaged_entry_is_a_miss_and_made_again(apt: Apt, cache: Cache, tmp_path: Path, damage: str) -> None:
    (tmp_path / "vmlinux").write_bytes(vmlinux())
    found = _image(cache, apt, tmp_path / "vmlinux")
    entry = ensure(found, cache, apt)
    if damage == "vmlinux gone":
        entry.vmlinux.unlink()
    elif damage == "vmlinux cut":
        entry.vmlinux.write_bytes(vmlinux()[:-1])
    elif damage == "no metadata":
        entry.metadata.unlink()
    elif damage == "cut metadata":
        entry.metadata.write_text(entry.metadata.read_text()[:-20])
    else:
        entry.metadata.write_text(entry.metadata.read_text().replace(found.identity, "f" * 64))
    assert lookup(found, cache) is None
    again = ensure(found, cache, apt)
    assert again.vmlinux.read_bytes() == vmlinux() and lookup(found, cache) == again


def test_two_that_ask_at_once_fetch_once(apt: Apt, cache: Cache, archive: Archive) -> None:
    found = resolve(SPEC, Lock(), cache, apt)
    archive.requests.clear()
    entries = []
    threads = [threading.Thread(target=lambda: entries.append(ensure(found, cache, apt))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entries[0] == entries[1]
    assert len([path for path in archive.requests if path.endswith(".deb")]) == 3


def test_the_kernel_of_a_suite_that_leans_on_another_is_resolved(archive: Archive, cache: Cache) -> None:
    """Experimental's kernels depend on packages that only sid has: apt found no way to install them."""
    publish(archive, "6.99.1-1", bzimage(COMPRESSORS["zstd"](vmlinux())))
    base = archive.deb("linux-base", "4.9", {})
    archive.serve("sid", base)
    image = f"linux-image-{RELEASE}"
    kernel = archive.deb(image, "7.3~rc1-1~exp1", {f"boot/vmlinuz-{RELEASE}": bzimage(COMPRESSORS["zstd"](vmlinux()))},
                         depends="linux-base (>= 4.9)")  # fmt: skip
    meta = archive.deb("linux-image-cloud-amd64", "7.3~rc1-1~exp1", {}, depends=image)
    archive.serve("experimental", meta, kernel, more="NotAutomatic: yes\n")
    apt = archive.machine(cache.apt)
    found = resolve(DebSpec("experimental", "cloud-amd64"), Lock(), cache, apt)
    assert found.version == "7.3~rc1-1~exp1"
    assert ensure(found, cache, apt).vmlinux.read_bytes() == vmlinux()
