"""Kernel entries in the cache: ``kernels/KEY/`` with vmlinux, its BTF, its config and metadata.

``metadata.json`` is written last and is the graph's target. Its shape is
``schemas/kernel_metadata.schema.json``; whatever does not read back whole is a miss.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ktstr.host.cache import Cache
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import KernelImage, has_sched_ext

KIND = "kernels"
VERSION = 1
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


def write_entry(
    folder: Path, key: str, identity: str, source: Mapping[str, object], image: KernelImage, config: str | None
) -> None:
    """Fill an entry's folder. ``config`` is the package's, used before the image's own. Raises OSError."""
    config = image.config if config is None else config
    contents = {"vmlinux": image.vmlinux, "btf": image.btf, "config": None if config is None else config.encode()}
    told: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "identity": identity,
        "source": dict(source),
        "arch": "x86_64",
        "release": image.release,
        "sched_ext": has_sched_ext(config, image.btf),
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


def _check_shape(told: Mapping[str, Any], path: Path) -> None:
    texts = ("key", "identity", "arch", "release", "built_at")
    good = told.get("version") == VERSION and all(isinstance(told.get(name), str) for name in texts)
    good = good and isinstance(told.get("sched_ext"), bool) and isinstance(told.get("source"), dict)
    for name in _FILES:
        part = told.get(name, 0)
        if part is None and name != "vmlinux":
            continue
        good = good and isinstance(part, dict) and sorted(part) == ["sha256", "size"]
        good = good and type(part["size"]) is int and isinstance(part["sha256"], str)
        good = good and _SHA256.fullmatch(part["sha256"]) is not None
    if not good:
        raise Corrupt("schema_drift", f"{path}: its fields are not those of version {VERSION}")


def read_entry(folder: Path) -> tuple[KernelEntry, str]:
    """The entry in ``folder`` and the identity it was made for. Raises Corrupt.

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
        version=told["release"],
        vmlinux=folder / _FILES["vmlinux"],
        metadata=path,
        digest=told["vmlinux"]["sha256"],
        btf=None if told["btf"] is None else folder / _FILES["btf"],
        sched_ext=told["sched_ext"],
    )
    return entry, told["identity"]


def lookup_entry(cache: Cache, key: str, identity: str) -> KernelEntry | None:
    """The entry ``key`` when it is whole and was made for ``identity``; anything else is a miss."""
    try:
        entry, made_for = read_entry(cache.entry(KIND, key))
    except Corrupt:
        return None
    return entry if (entry.key, made_for) == (key, identity) else None
