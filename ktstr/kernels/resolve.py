"""From a kernel spec to what it means now: pinned packages, sources, or a file by its hash.

A pinned spec is resolved without the network. Knows nothing of tasks or the graph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ktstr.config.suggest import nearest
from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256, unreadable
from ktstr.host.apt import ARCH, Apt
from ktstr.host.cache import Cache
from ktstr.kernels.cache import KIND, Corrupt, key_part, lookup_entry, read_entry
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import load_image
from ktstr.kernels.spec import (
    FORMS,
    DebSpec,
    ImageSpec,
    KeySpec,
)
from ktstr.pins.lock import Lock, Pin

_VERSIONED = re.compile(r"linux-image-(?:unsigned-)?(\d.*)")


@dataclass(frozen=True)
class Resolution:
    """What a spec means. ``key`` is its place in the cache, ``identity`` the SHA-256 of what it is made from.

    ``version`` is the package version, or the image's file name. ``pin`` belongs in the lock; None for an image.
    """

    spec: DebSpec | ImageSpec
    key: str
    version: str
    identity: str
    pin: Pin | None


def resolve(spec: DebSpec | ImageSpec, lock: Lock, cache: Cache, apt: Apt, *, update: bool = False) -> Resolution:
    """Resolve ``spec``: from ``lock`` unless ``update`` or it is not there, else from the archive.

    Raises InputError for an unknown suite or flavour, or a file that is no kernel; HostError when
    the archive cannot be asked.
    """
    if isinstance(spec, ImageSpec):
        return _resolve_image(spec, cache)
    pin = lock.kernels.get(str(spec))
    return deb_resolution(spec, pin if isinstance(pin, Pin) and not update else pin_deb(spec, apt))


def deb_resolution(spec: DebSpec, pin: Pin) -> Resolution:
    """The resolution that a pin stands for."""
    key = key_part(f"deb-{spec.suite}-{pin.version}-{spec.flavour}-{ARCH}")
    return Resolution(spec, key, pin.version, pin.digest, pin)


def _resolve_image(spec: ImageSpec, cache: Cache) -> Resolution:
    try:
        if not spec.path.exists():
            raise InputError(f"kernel {spec}: cannot be read: found nothing there", fix=f"expected {FORMS}")
        if not spec.path.is_file():
            load_image(spec.path)
        digest = file_sha256(spec.path)
    except OSError as err:
        raise unreadable(err, f"kernel {spec.path}") from None
    key = f"image-{digest[:12]}"
    if lookup_entry(cache, key, digest) is None:
        load_image(spec.path)  # refuse now what is no kernel, before anything runs
    return Resolution(spec, key, spec.path.name, digest, None)


def pin_deb(spec: DebSpec, apt: Apt) -> Pin:
    """The packages that hold the suite's newest kernel of that flavour: its image, and its config.

    ``linux-image-FLAVOUR`` depends on the versioned ``linux-image-RELEASE``. That one holds everything
    in bookworm; in forky the image is in ``linux-binary-RELEASE`` and the config in ``linux-base-RELEASE``.
    """
    apt.update(spec.suite)
    meta = f"linux-image-{spec.flavour}"
    flavours = _flavours(apt, spec.suite)
    if spec.flavour not in flavours:
        near = nearest(spec.flavour, flavours)
        raise InputError(
            f"kernel {spec}: suite {spec.suite} has no flavour {spec.flavour}"
            + (f"; nearest is {near}" if near else ""),
            fix=f"expected one of {', '.join(flavours) or 'none: this suite has no kernels'}",
        )
    releases = [match.group(1) for name in apt.depends(spec.suite, meta) if (match := _VERSIONED.fullmatch(name))]
    if not releases:
        raise HostError(f"kernel {spec}: package {meta} depends on no kernel image")
    wanted = re.compile(rf"linux-(image|binary|base)-(unsigned-|signed-)?{re.escape(releases[0])}")
    packages = tuple(package for package in apt.closure(spec.suite, (meta,)) if wanted.fullmatch(package.name))
    if not packages:
        raise HostError(f"kernel {spec}: the suite lists no package with the image of {releases[0]}")
    image = next((p for p in packages if p.name == f"linux-image-{releases[0]}"), packages[0])
    return Pin(image.version, packages)


def _flavours(apt: Apt, suite: str) -> tuple[str, ...]:
    """The flavours a suite has: names of ``linux-image-*`` without a version, debug or template packages."""
    names = (name.removeprefix("linux-image-") for name in apt.names(suite, "linux-image-"))
    return tuple(name for name in names if not re.search(r"\d+\.\d+|-dbg$|-template$", name) and "unsigned" not in name)


def resolve_cached(spec: KeySpec, cache: Cache) -> KernelEntry:
    """The entry with that key. Raises InputError when the cache has none, HostError when it is damaged."""
    try:
        return read_entry(cache.entry(KIND, spec.key))
    except Corrupt as err:
        if err.kind != "missing":
            raise HostError(
                f"kernel {spec}: its cache entry is damaged: {err}", fix="kernel_clean corrupt_only=1"
            ) from None
    folder = cache.root / KIND
    keys = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    near = nearest(spec.key, keys)
    raise InputError(
        f"kernel {spec}: not found in the cache" + (f", nearest key {near!r}" if near else ""), fix="doit kernel_list"
    )
