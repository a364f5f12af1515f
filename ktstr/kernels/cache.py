"""Kernel entries in the cache: ``kernels/KEY/`` with vmlinux, its BTF, its config and metadata.

``metadata.json`` is written last and is the graph's target. Its shape is
``schemas/kernel_metadata.schema.json``; whatever does not read back whole is a miss.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ktstr.errors import InputError
from ktstr.files import parse_json
from ktstr.host.cache import Cache
from ktstr.kernels.config_facts import config_facts
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.image import KernelImage, has_sched_ext

KIND = "kernels"
ARCH = "x86_64"
VERSION = 2
METADATA = "metadata.json"
SOURCES = ("deb", "image", "tarball", "git", "debsrc", "local")
BASES = ("minimal", "full", "tree")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
CONFIG = "config"  # null in an entry's facts when the kernel's configuration is not known
_FILES = {"vmlinux": "vmlinux", "btf": "vmlinux.btf", CONFIG: CONFIG}
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
    made, by_config = made or Made(), config_facts(config)
    contents = {"vmlinux": image.vmlinux, "btf": image.btf, "config": None if config is None else config.encode()}
    facts: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "identity": identity,
        "source": dict(source),
        "arch": ARCH,
        "release": image.release,
        "kernel_version": made.kernel_version,
        "sched_ext": has_sched_ext(config, image.btf),
        "hz": by_config.hz,
        "preempt": by_config.preempt,
        "kconfig": None if made.kconfig is None else dict(made.kconfig),
        "toolchain": None if made.toolchain is None else dict(made.toolchain),
        "config_hash": None if config is None else hashlib.sha256(config.encode()).hexdigest(),
        "steps": made.steps,
        "built_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for name, data in contents.items():
        if data is not None:
            (folder / _FILES[name]).write_bytes(data)
        facts[name] = None if data is None else {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / METADATA).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_METADATA + 1)
    except FileNotFoundError:
        raise Corrupt("missing", f"{path} does not exist") from None
    except OSError as err:
        raise Corrupt("unreadable", f"{path}: {err.strerror}") from None
    try:
        loaded = parse_json(raw, path, _MAX_METADATA)
    except InputError as err:
        fault = err.__cause__
        at_end = isinstance(fault, json.JSONDecodeError) and fault.pos >= len(fault.doc.rstrip())
        raise Corrupt("truncated" if at_end else "malformed", err.message) from None
    if not isinstance(loaded, dict):
        raise Corrupt("schema_drift", f"{path}: found no object")
    return loaded


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _hash(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _count(value: object) -> bool:
    return type(value) is int and value > 0


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _kconfig(value: object) -> bool:
    if not isinstance(value, dict) or sorted(value) != ["base", "digest", "fragments"]:
        return False
    fragments = value["fragments"]
    named = isinstance(fragments, list) and all(isinstance(word, str) for word in fragments)
    return named and value["base"] in BASES and _hash(value["digest"])


def _file(value: object) -> bool:
    if not isinstance(value, dict) or sorted(value) != ["sha256", "size"]:
        return False
    return type(value["size"]) is int and value["size"] >= 0 and _hash(value["sha256"])


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_SHAPE: Mapping[str, Callable[[object], bool]] = {
    "version": lambda value: type(value) is int and value == VERSION,
    "key": _text,
    "identity": _hash,
    "source": lambda value: isinstance(value, dict) and value.get("type") in SOURCES,
    "arch": lambda value: value == ARCH,
    "release": _text,
    "kernel_version": _or_null(_text),
    "sched_ext": lambda value: isinstance(value, bool),
    "hz": _or_null(_count),
    "preempt": _or_null(_text),
    "kconfig": _or_null(_kconfig),
    "toolchain": _or_null(_texts),
    "config_hash": _or_null(_hash),
    "steps": _or_null(_count),
    "built_at": lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    "vmlinux": _file,
    "btf": _or_null(_file),
    "config": _or_null(_file),
}


def _check_shape(facts: Mapping[str, Any], path: Path) -> None:
    """The border: whoever reads an entry further on, and ``kernel_list json=1``, relies on these shapes."""
    if facts.get("version") != VERSION:
        found = json.dumps(facts.get("version"))[:20]
        raise Corrupt("schema_drift", f"{path}: found version {found}, expected {VERSION}")
    wrong = [name for name, check in _SHAPE.items() if name not in facts or not check(facts[name])]
    if wrong:
        raise Corrupt("schema_drift", f"{path}: not as version {VERSION} has it: {', '.join(wrong)}")


def read_entry(folder: Path) -> KernelEntry:
    """The entry in ``folder``. Raises Corrupt.

    Reads metadata and file sizes only: an entry of another size than recorded is corrupt.
    """
    path = folder / METADATA
    facts = _load(path)
    _check_shape(facts, path)
    for name, file in _FILES.items():
        if facts[name] is not None:
            try:
                size = (folder / file).stat().st_size
            except OSError as err:
                raise Corrupt("image_missing", f"{folder / file}: {err.strerror}") from None
            if size != facts[name]["size"]:
                raise Corrupt("image_missing", f"{folder / file}: {size} bytes, recorded {facts[name]['size']}")
    entry = KernelEntry(
        key=facts["key"],
        identity=facts["identity"],
        version=facts["release"],
        vmlinux=folder / _FILES["vmlinux"],
        metadata=path,
        digest=facts["vmlinux"]["sha256"],
        btf=None if facts["btf"] is None else folder / _FILES["btf"],
        sched_ext=facts["sched_ext"],
        hz=facts["hz"],
        preempt=facts["preempt"],
        facts=facts,
    )
    return entry


def lookup_entry(cache: Cache, key: str, identity: str) -> KernelEntry | None:
    """The entry ``key`` when it is whole and was made for ``identity``; anything else is a miss."""
    try:
        entry = read_entry(cache.entry(KIND, key))
    except Corrupt:
        return None
    return entry if (entry.key, entry.identity) == (key, identity) else None


def metadata_path(key: str, cache: Cache) -> Path:
    """Where the entry's ``metadata.json``, the graph's target, is or will be."""
    return cache.entry(KIND, key) / METADATA
