"""Kernel entries in the cache: ``kernels/KEY/`` with vmlinux, its BTF, its config and metadata.

``metadata.json`` is written last and is the graph's target. Its shape is
``schemas/kernel_metadata.schema.json``; whatever does not read back whole is a miss.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ktstr.host.cache import Cache
from ktstr.kernels.config_facts import config_facts
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import KernelImage, has_sched_ext

KIND = "kernels"
ARCH = "x86_64"
VERSION = 2
METADATA = "metadata.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILES = {"vmlinux": "vmlinux", "btf": "vmlinux.btf", "config": "config"}
_MAX_METADATA = 1 << 20


class Corrupt(ValueError):
    """An entry that cannot be used. ``kind`` is its class: missing, unreadable, malformed, truncated,
    schema_drift or image_missing."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def key_part(text: str) -> str:
    """``text`` with everything that a key may not hold replaced by ``_``."""
    return re.sub(r"[^A-Za-z0-9.+~=-]", "_", text).replace("..", "_")


def build_key(
    stem: str, arch: str, kconfig_digest: str, toolchain_digest: str, config_digest: str | None = None
) -> str:
    """The key of a built kernel: ``6.14.2-tarball-x86_64-kc1234abcd-tc1234abcd``.

    ``config_digest`` is that of a tree's own ``.config``, which then is part of the key: ``cfg1234abcd``.
    """
    own = [] if config_digest is None else [f"cfg{config_digest[:8]}"]
    parts = [key_part(stem)[:120], arch, *own, f"kc{kconfig_digest[:8]}", f"tc{toolchain_digest[:8]}"]
    return "-".join(parts).lstrip(".+=~-")


@dataclass(frozen=True)
class Made:
    """How a kernel was made, for its metadata; all None for one that came prebuilt.

    ``kernel_version``: the release asked for; ``kconfig``: base, fragments and digest; ``toolchain``: what its
    tools say of themselves, and their digest; ``steps``: files its build made, from nothing.
    """

    kernel_version: str | None = None
    kconfig: Mapping[str, object] | None = None
    toolchain: Mapping[str, str] | None = None
    steps: int | None = None


def write_entry(
    folder: Path,
    key: str,
    identity: str,
    source: Mapping[str, object],
    image: KernelImage,
    config: str | None,
    made: Made | None = None,
) -> None:
    """Fill an entry's folder. ``config`` is the package's or build's, used before the image's own. Raises OSError."""
    config = image.config if config is None else config
    made, facts = made or Made(), config_facts(config)
    contents = {"vmlinux": image.vmlinux, "btf": image.btf, "config": None if config is None else config.encode()}
    told: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "identity": identity,
        "source": dict(source),
        "arch": ARCH,
        "release": image.release,
        "kernel_version": made.kernel_version,
        "sched_ext": has_sched_ext(config, image.btf),
        "hz": facts.hz,
        "preempt": facts.preempt,
        "kconfig": None if made.kconfig is None else dict(made.kconfig),
        "toolchain": None if made.toolchain is None else dict(made.toolchain),
        "config_hash": None if config is None else hashlib.sha256(config.encode()).hexdigest(),
        "steps": made.steps,
        "built_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for name, data in contents.items():
        if data is not None:
            (folder / _FILES[name]).write_bytes(data)
        told[name] = None if data is None else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / METADATA).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_METADATA + 1)
    except FileNotFoundError:
        raise Corrupt("missing", f"{path} does not exist") from None
    except OSError as err:
        raise Corrupt("unreadable", f"{path}: {err.strerror}") from None
    try:
        loaded = json.loads(raw)
    except (ValueError, RecursionError) as err:
        at_end = isinstance(err, json.JSONDecodeError) and err.pos >= len(err.doc.rstrip())
        raise Corrupt("truncated" if at_end or not raw else "malformed", f"{path}: {err}") from None
    if not isinstance(loaded, dict):
        raise Corrupt("schema_drift", f"{path}: found no object")
    return loaded


_NULLABLE = {
    "kernel_version": str, "hz": int, "preempt": str, "kconfig": dict, "toolchain": dict, "config_hash": str,
    "steps": int,
}  # fmt: skip


def _is(value: object, kind: type) -> bool:
    """Whether it is null or exactly of that type; what is not there at all is neither."""
    return value is None or (type(value) is kind and value != 0)


def _check_shape(told: Mapping[str, Any], path: Path) -> None:
    texts = ("key", "identity", "arch", "release", "built_at")
    good = told.get("version") == VERSION and all(isinstance(told.get(name), str) for name in texts)
    good = good and isinstance(told.get("sched_ext"), bool) and isinstance(told.get("source"), dict)
    good = good and all(_is(told.get(name, 0), kind) for name, kind in _NULLABLE.items())
    for name in _FILES:
        part = told.get(name, 0)
        if part is None and name != "vmlinux":
            continue
        good = good and isinstance(part, dict) and sorted(part) == ["sha256", "size"]
        good = good and type(part["size"]) is int and isinstance(part["sha256"], str)
        good = good and _SHA256.fullmatch(part["sha256"]) is not None
    if not good:
        raise Corrupt("schema_drift", f"{path}: its fields are not those of version {VERSION}")


def read_entry(folder: Path) -> KernelEntry:
    """The entry in ``folder``. Raises Corrupt.

    Reads metadata and file sizes only: an entry of another size than recorded is corrupt.
    """
    path = folder / METADATA
    told = _load(path)
    _check_shape(told, path)
    for name, file in _FILES.items():
        if told[name] is not None:
            try:
                size = (folder / file).stat().st_size
            except OSError as err:
                raise Corrupt("image_missing", f"{folder / file}: {err.strerror}") from None
            if size != told[name]["size"]:
                raise Corrupt("image_missing", f"{folder / file}: {size} bytes, recorded {told[name]['size']}")
    entry = KernelEntry(
        key=told["key"],
        identity=told["identity"],
        version=told["release"],
        vmlinux=folder / _FILES["vmlinux"],
        metadata=path,
        digest=told["vmlinux"]["sha256"],
        btf=None if told["btf"] is None else folder / _FILES["btf"],
        sched_ext=told["sched_ext"],
        hz=told["hz"],
        preempt=told["preempt"],
        told=told,
    )
    return entry


def lookup_entry(cache: Cache, key: str, identity: str) -> KernelEntry | None:
    """The entry ``key`` when it is whole and was made for ``identity``; anything else is a miss."""
    try:
        entry = read_entry(cache.entry(KIND, key))
    except Corrupt:
        return None
    return entry if (entry.key, entry.identity) == (key, identity) else None
