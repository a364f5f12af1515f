"""The pinned tools: QEMU, what compiles BPF schedulers, and what writes the BTF of new kernels.

QEMU is 10.x of bookworm-backports: the first in Debian that divides its time budget between
vCPUs (8.1 and later), with TCG built in. The same build is used everywhere, because results
under ``icount`` depend on it. BPF needs bpftool 7.5 and libbpf 1.4: older ones skip
``.struct_ops.link``, and a scheduler would outlive its loader. pahole is Debian 13's 1.30: before
1.26 it writes wrong prototypes of the kfuncs of 7.0 and later (``ktstr.kernels.pahole``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.pins.lock import Lock, Pin
from ktstr.tools import bundle
from ktstr.tools.bundle import Bundle, Recipe

QEMU = Recipe(
    name="qemu",
    suite="bookworm-backports",
    closure=("qemu-system-x86",),
    kept=("qemu-system-data", "seabios"),
    programs=("usr/bin/qemu-system-x86_64",),
    files=(
        ("usr/share/seabios/bios-256k.bin", "usr/share/qemu"),
        ("usr/share/qemu/kvmvapic.bin", "usr/share/qemu"),
        ("usr/share/qemu/linuxboot*.bin", "usr/share/qemu"),
        ("usr/share/qemu/pvh.bin", "usr/share/qemu"),
    ),
    main="qemu-system-x86",
)
BPF = Recipe(
    name="bpf",
    suite="bookworm-backports",
    closure=("bpftool", "libbpf1"),
    kept=("libbpf-dev", "libbpf1"),
    programs=("usr/sbin/bpftool", "usr/lib/x86_64-linux-gnu/libbpf.so.1"),
    files=(
        ("usr/include/bpf/*.h", "usr/include/bpf"),
        ("usr/lib/x86_64-linux-gnu/libbpf.a", "usr/lib"),
    ),
    main="bpftool",
)
PAHOLE = Recipe(
    name="pahole",
    suite="trixie",
    closure=("pahole",),
    kept=(),
    programs=("usr/bin/pahole",),
    files=(),
    main="pahole",
    commands=("usr/bin/pahole",),
)
RECIPES = {recipe.name: recipe for recipe in (QEMU, BPF, PAHOLE)}


@dataclass(frozen=True)
class Tool:
    """QEMU as a backend uses it: start it with ``argv_prefix`` and ``env``, firmware is in ``data_dir``.

    ``digest`` is the identity of the build on every machine; ``metadata`` the graph's target.
    """

    argv_prefix: tuple[str, ...]
    data_dir: Path
    module_dir: Path
    version: str
    digest: str
    env: Mapping[str, str]
    metadata: Path


@dataclass(frozen=True)
class BpfTools:
    """What a BPF scheduler is compiled with: ``bpftool`` command, ``-I`` folder, static libbpf."""

    bpftool: tuple[str, ...]
    include_dir: Path
    libbpf_a: Path
    version: str
    digest: str


def resolve_tool(name: str, lock: Lock, apt: Apt, *, update: bool = False) -> Pin:
    """The pin of tool ``name``, one of ``RECIPES``: from the lock, else from the archive (network)."""
    return bundle.resolve(RECIPES[name], lock.tools.get(name), apt, update=update)


def tool_metadata(name: str, pin: Pin, cache: Cache) -> Path:
    """Where the bundle's ``tool.json`` is or will be."""
    return cache.entry("tools", pin.digest) / bundle.METADATA


def lookup_qemu(pin: Pin, cache: Cache) -> Tool | None:
    """QEMU when it is in the cache and whole; no network."""
    found = bundle.lookup(QEMU, pin, cache)
    return None if found is None else qemu_tool(found)


def ensure_qemu(pin: Pin, cache: Cache, apt: Apt) -> Tool:
    """QEMU, fetched and unpacked when it is not in the cache. Raises HostError."""
    return qemu_tool(bundle.ensure(QEMU, pin, cache, apt))


def qemu_tool(found: Bundle) -> Tool:
    """The backend's view of an unpacked bundle."""
    modules = found.folder / "usr/lib/qemu"  # does not exist: no host module is ever picked up
    return Tool(
        argv_prefix=found.argv(QEMU.programs[0]),
        data_dir=found.folder / "usr/share/qemu",
        module_dir=modules,
        version=found.version,
        digest=found.digest,
        env={"QEMU_MODULE_DIR": str(modules)},
        metadata=found.metadata,
    )


def ensure_bpf(pin: Pin, cache: Cache, apt: Apt) -> BpfTools:
    """The private BPF tools, fetched and unpacked when not in the cache. Raises HostError."""
    return bpf_tool(bundle.ensure(BPF, pin, cache, apt))


def lookup_bpf(pin: Pin, cache: Cache) -> BpfTools | None:
    """The private BPF tools when they are in the cache and whole; no network."""
    found = bundle.lookup(BPF, pin, cache)
    return None if found is None else bpf_tool(found)


def bpf_tool(found: Bundle) -> BpfTools:
    """A compiler's view of an unpacked bundle."""
    usr = found.folder / "usr"
    return BpfTools(
        bpftool=found.argv(BPF.programs[0]),
        include_dir=usr / "include",
        libbpf_a=usr / "lib/libbpf.a",
        version=found.version,
        digest=found.digest,
    )
