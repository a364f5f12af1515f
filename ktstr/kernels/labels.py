"""What kernels are called in cell names and run directories, made from their specs alone."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from ktstr.errors import InputError
from ktstr.kernels.spec import GitSpec, ImageSpec, KeySpec, Spec, TreeSpec

_LOCAL_KEY = re.compile(r"local-([0-9a-z]+)")


def label_of(spec: Spec) -> str:
    """``kernel_6_14_2``, ``kernel_git_OWNER_REPO_REF``, ``kernel_path_NAME_HASH``, ``kernel_deb_SUITE_FLAVOUR``."""
    return "kernel_" + plain(_text(spec))


def plain(text: str) -> str:
    """Lower case, each run of anything but letters and digits one ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _text(spec: Spec) -> str:
    if isinstance(spec, ImageSpec | TreeSpec):
        return f"path_{spec.path.name}_{path_hash(spec.path)}"
    if isinstance(spec, GitSpec):
        return _git(spec)
    if isinstance(spec, KeySpec):
        return _key(spec.key)
    return str(spec)


def path_hash(path: Path) -> str:
    """Six hex digits that tell trees of one name apart: the leading ones of the real path's CRC-32."""
    return f"{zlib.crc32(os.fsencode(os.path.realpath(path))) >> 8:06x}"


def _git(spec: GitSpec) -> str:
    """The last two parts of the address, without scheme, host and ``.git``."""
    place = re.sub(r"^[a-z+]+://[^/]*", "", spec.url.rstrip("/")).removesuffix(".git")
    parts = [part for part in re.split(r"[/:]", place) if part][-2:]
    return "_".join(("git", *parts, spec.ref))


def _key(key: str) -> str:
    for mark in ("-tarball-", "-git-", "-debsrc-"):
        if mark in key:
            return key.partition(mark)[0]
    found = _LOCAL_KEY.match(key)
    return f"local_{found[1][:6] if found[1] != 'unknown' else 'unknown'}" if found else key


def check_collisions(labels: Iterable[tuple[str, str]]) -> None:
    """Refuse two different specs with one label; each item is a label and the text of its spec."""
    seen: dict[str, str] = {}
    for label, spec in labels:
        if seen.setdefault(label, spec) != spec:
            raise InputError(
                f"kernels {seen[label]} and {spec} both sanitize to {label}",
                fix="give them names under kernels: in ktstr.yaml",
            )
