"""A kernel that somebody else built: its cache entry, from the distribution's packages or from an image."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostError
from ktstr.host.apt import Apt, Gone, gone
from ktstr.host.cache import Cache
from ktstr.host.deb import unpack
from ktstr.kernels.cache import KIND, lookup_entry, write_entry
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import BadImage, KernelImage, load_image, read_image
from ktstr.kernels.resolve import Resolution
from ktstr.kernels.spec import DebSpec
from ktstr.pins.lock import Pin

_IMAGES = ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz*", "lib/modules/*/vmlinuz*")
_CONFIGS = ("boot/config-*", "usr/lib/modules/*/config", "lib/modules/*/config")


def lookup(resolution: Resolution, cache: Cache) -> KernelEntry | None:
    """The entry when it is in the cache and whole: reads its metadata only, never the network."""
    return lookup_entry(cache, resolution.key, resolution.identity)


def ensure(resolution: Resolution, cache: Cache, apt: Apt) -> KernelEntry:
    """The entry of a prebuilt kernel, fetched and extracted when it is not in the cache or damaged.

    Of two processes that ask at once one does the work. Raises HostError when it cannot be had,
    and InputError when the spec's image is no kernel.
    """
    if (found := lookup(resolution, cache)) is not None:
        return found
    with cache.writing(KIND, resolution.key):
        if (found := lookup(resolution, cache)) is None:
            _make(resolution, cache, apt)
            found = lookup(resolution, cache)
    if found is None:
        raise HostError(f"{cache.entry(KIND, resolution.key)}: damaged right after it was made", fix="check the disk")
    return found


def _make(resolution: Resolution, cache: Cache, apt: Apt) -> None:
    spec = resolution.spec
    with cache.storing(KIND, resolution.key) as folder:
        source: dict[str, object]
        if isinstance(spec, DebSpec):
            assert resolution.pin is not None, "a distribution kernel is always pinned"
            prebuilt = _fetch(spec, resolution.pin, folder / "scratch", apt)
            packages = {package.name: package.sha256 for package in resolution.pin.packages}
            source = {"type": "deb", "suite": spec.suite, "flavour": spec.flavour}
            source |= {"package_version": resolution.version, "packages": packages}
        else:
            prebuilt = _Prebuilt(load_image(spec.path, resolution.identity), None)
            source = {"type": "image", "path": str(spec.path)}
        write_entry(folder, resolution.key, resolution.identity, source, prebuilt.image, prebuilt.config)


@dataclass(frozen=True)
class _Prebuilt:
    """A kernel that somebody else built; ``config`` is None where nothing beside it says it."""

    image: KernelImage
    config: str | None


def _fetch(spec: DebSpec, pin: Pin, scratch: Path, apt: Apt) -> _Prebuilt:
    """Download and unpack the pinned packages, take image and config, and leave nothing behind."""
    try:
        files = apt.download(pin.packages, scratch / "debs")
    except Gone as err:
        raise gone(apt, pin.packages, str(spec), err) from None
    root = scratch / "root"
    for file in files.values():
        unpack(file, root, apt.cancel)
    found = _one(root, _IMAGES)
    if found is None:
        raise HostError(f"kernel {spec}: its packages hold no kernel image", fix=f"lock_update={spec}")
    try:
        image = read_image(found.read_bytes())
    except BadImage as err:
        raise HostError(f"kernel {spec}: {found.name}: {err}", fix="use another suite or flavour") from None
    config = _one(root, _CONFIGS)
    text = None if config is None else config.read_text(encoding="utf-8", errors="replace")
    shutil.rmtree(scratch)
    return _Prebuilt(image, text)


def _one(root: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first regular file, inside ``root`` by its real path, that a pattern names."""
    real = root.resolve()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and path.resolve().is_relative_to(real):
                return path
    return None
