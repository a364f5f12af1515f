"""The lab's kernel: the distribution's generic 6.12, of which vmlinux and a few modules are kept.

Generic, because the small cloud kernel has kvm-amd but no 9p.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostError
from ktstr.host.apt import Apt, Gone, gone
from ktstr.host.cache import Cache
from ktstr.host.deb import unpack
from ktstr.kernels.image import BadImage, read_image
from ktstr.lab.modules import load_order, module_files
from ktstr.pins.lock import Lock, Pin
from ktstr.tools.bundle import METADATA, Facts, read_facts, write_facts

NAME = "lab"
SUITE = "bookworm-backports"  # as QEMU; its 6.12 changes less often than that of security
META = "linux-image-amd64"  # depends on the newest build
FORMAT = 1  # raised when the entry's layout changes: older ones are made again
# The root over 9p with a layer above it, and KVM on AMD's extensions. virtio-pci and virtio-console are built in.
MODULES = ("9p", "9pnet_virtio", "overlay", "kvm_amd")
_IMAGE = re.compile(r"linux-image-\d.*")


class LabFacts(Facts, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``tool.json`` says of the kernel. ``modules``: their files, in the order to load them."""

    modules: tuple[str, ...]


@dataclass(frozen=True)
class LabKernel:
    """The kernel in the cache; ``modules`` in the order to load them. ``metadata`` is the graph's target."""

    vmlinux: Path
    modules: tuple[Path, ...]
    version: str
    digest: str
    metadata: Path


def pin(apt: Apt) -> Pin:
    """The newest build of the kernel. Raises HostError when the archive cannot be asked."""
    apt.update(SUITE)
    names = [name for name in apt.depends(SUITE, META) if _IMAGE.fullmatch(name)]
    if not names:
        raise HostError(f"lab: package {META} of {SUITE} depends on no kernel image")
    package = apt.resolve(SUITE, names[0])
    return Pin(package.version, (package,))


def resolve(lock: Lock, apt: Apt, *, update: bool = False) -> Pin:
    """The pin of the lab's kernel: from the lock, else from the archive (network)."""
    pinned = lock.tools.get(NAME)
    return pinned if pinned is not None and not update else pin(apt)


def lookup(pinned: Pin, cache: Cache) -> LabKernel | None:
    """The kernel when it is in the cache and whole; no network."""
    folder = cache.entry("tools", pinned.digest)
    facts = read_facts(LabFacts, folder, FORMAT, NAME, ("vmlinux",))
    if facts is None or not facts.files.keys() >= set(facts.modules):
        return None
    modules = tuple(folder / name for name in facts.modules)
    return LabKernel(folder / "vmlinux", modules, facts.version, pinned.digest, folder / METADATA)


def ensure(pinned: Pin, cache: Cache, apt: Apt) -> LabKernel:
    """The kernel, fetched and unpacked when it is not in the cache. Raises HostError."""
    if (found := lookup(pinned, cache)) is not None:
        return found
    with cache.writing("tools", pinned.digest):
        if (found := lookup(pinned, cache)) is None:
            _make(pinned, cache, apt)
            found = lookup(pinned, cache)
    if found is None:
        raise HostError(f"{cache.entry('tools', pinned.digest)}: damaged right after it was made", fix="check the disk")
    return found


def _make(pinned: Pin, cache: Cache, apt: Apt) -> None:
    with cache.storing("tools", pinned.digest) as out:
        root = out / "scratch"
        try:
            files = apt.download(pinned.packages, root / "debs")
        except Gone as err:
            raise gone(apt, pinned.packages, NAME, err) from None
        for file in files.values():
            unpack(file, root, apt.cancel)
        (out / "vmlinux").write_bytes(_vmlinux(root))
        ordered = load_order(MODULES, module_files(root))
        shutil.rmtree(root)
        for name, data in ordered.items():
            (out / f"{name}.ko").write_bytes(data)
        facts = LabFacts(
            format=FORMAT,
            name=NAME,
            version=pinned.version,
            digest=pinned.digest,
            modules=tuple(f"{name}.ko" for name in ordered),
            files={path.name: path.stat().st_size for path in sorted(out.iterdir())},
        )
        write_facts(out, facts)


def _vmlinux(root: Path) -> bytes:
    images = [path for path in sorted(root.glob("boot/vmlinuz-*")) if path.is_file() and not path.is_symlink()]
    if len(images) != 1:
        raise HostError(f"lab: found {len(images)} kernel images in its package, expected one", fix="lock_update=lab")
    try:
        return read_image(images[0].read_bytes()).vmlinux
    except BadImage as err:
        raise HostError(f"lab: {images[0].name}: {err}", fix="lock_update=lab") from None
