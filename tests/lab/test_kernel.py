from __future__ import annotations

import dataclasses
import lzma
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.lab.kernel import META, MODULES, SUITE, ensure, lookup, pin, resolve
from ktstr.pins.lock import Lock
from tests.host.archive import Archive
from tests.kernels.images import COMPRESSORS, bzimage, vmlinux
from tests.lab.modules import module

RELEASE = "6.12.1+deb12-amd64"
NEEDS = {"kvm_amd": "ccp,kvm", "kvm": "", "ccp": "", "9p": "9pnet", "9pnet_virtio": "9pnet", "9pnet": "", "overlay": ""}


def publish(archive: Archive, scratch: Path, version: str, leave_out: str = "") -> None:
    """A suite with a kernel package that holds everything, as bookworm's do."""
    image = f"linux-image-{RELEASE}"
    files: dict[str, bytes | Path] = {f"boot/vmlinuz-{RELEASE}": bzimage(COMPRESSORS["zstd"](vmlinux()))}
    for name, needs in NEEDS.items():
        if name != leave_out:
            path = f"lib/modules/{RELEASE}/kernel/{name.replace('_', '-')}.ko.xz"
            files[path] = lzma.compress(module(scratch, name, needs))
    archive.serve("bookworm")
    archive.serve(SUITE, archive.deb(META, version, {}, depends=image), archive.deb(image, version, files))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def apt(archive: Archive, cache: Cache, tmp_path: Path) -> Apt:
    publish(archive, tmp_path, "6.12.1-1")
    return archive.machine(cache.apt)


def test_the_pin_is_the_image_that_the_newest_build_depends_on(apt: Apt) -> None:
    found = pin(apt)
    assert (found.version, [package.name for package in found.packages]) == ("6.12.1-1", [f"linux-image-{RELEASE}"])


def test_the_entry_holds_vmlinux_and_the_modules_in_order(apt: Apt, cache: Cache) -> None:
    pinned = pin(apt)
    assert lookup(pinned, cache) is None
    made = ensure(pinned, cache, apt)
    assert made.vmlinux.read_bytes() == vmlinux()
    assert [path.name for path in made.modules] == [
        "9pnet.ko", "9p.ko", "9pnet_virtio.ko", "overlay.ko", "ccp.ko", "kvm.ko", "kvm_amd.ko",
    ]  # fmt: skip
    assert made.modules[0].read_bytes()[:4] == b"\x7fELF"
    assert sorted(path.name for path in made.vmlinux.parent.iterdir()) == sorted(
        ["vmlinux", "tool.json", *(path.name for path in made.modules)]
    )
    offline = dataclasses.replace(apt, offline=True)
    assert ensure(pinned, cache, offline) == made


def test_a_pin_in_the_lock_asks_nothing(apt: Apt, archive: Archive) -> None:
    pinned = pin(apt)
    before = len(archive.requests)
    assert resolve(Lock().with_tool("lab", pinned), apt) == pinned
    assert len(archive.requests) == before


def test_a_damaged_entry_is_made_again(apt: Apt, cache: Cache) -> None:
    pinned = pin(apt)
    made = ensure(pinned, cache, apt)
    made.modules[0].write_bytes(b"short")
    assert lookup(pinned, cache) is None
    assert ensure(pinned, cache, apt).modules[0].read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("{", "[" * 100_000 + "{"),
        ('"format": 1', '"format": 1, "format": 1'),
        ('"modules": [', '"modules": ["/etc/passwd", '),
        ('"vmlinux": ', '"tool.json": '),
        ('"version": "6.12.1-1"', '"version": 6'),
    ],
)
def test_metadata_that_is_not_exactly_the_kernels_is_no_kernel(
    apt: Apt, cache: Cache, found: str, instead: str
) -> None:
    pinned = pin(apt)
    made = ensure(pinned, cache, apt)
    text = made.metadata.read_text()
    assert found in text
    made.metadata.write_text(text.replace(found, instead, 1))
    assert lookup(pinned, cache) is None
    assert ensure(pinned, cache, apt) == made


def test_a_package_without_a_module_is_refused_and_leaves_nothing(
    cache: Cache, archive: Archive, tmp_path: Path
) -> None:
    publish(archive, tmp_path, "6.12.1-1", leave_out="kvm_amd")
    apt = archive.machine(cache.apt)
    with pytest.raises(HostError, match="kernel module kvm_amd is not in the kernel's package"):
        ensure(pin(apt), cache, apt)
    assert list((cache.root / "tools").iterdir()) == []


def test_the_modules_wanted_are_the_roots_of_what_is_loaded() -> None:
    assert set(MODULES) <= set(NEEDS)
