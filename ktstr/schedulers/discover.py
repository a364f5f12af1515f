"""``discover:`` schedulers: a program by its name, looked for where builds leave it, else built by cargo.

The order, and what a sidecar calls each place:

1. ``env_var``: the path in KTSTR_SCHEDULER whose last part is the name.
2. ``sibling_dir``: beside ktstr.yaml.
3. ``target_debug``, ``target_release``: below CARGO_TARGET_DIR or ``target``.
4. ``auto_built``: where there is a Cargo.toml, by ``cargo build --release -p NAME``, in a target folder of the cache.
5. ``path_lookup``: on the PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ktstr.config.model import Command, Discover
from ktstr.errors import InputError
from ktstr.record.sidecar import ResolveSource
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.binary import binary_artifact
from ktstr.schedulers.command import command_artifact

VARIABLE = "KTSTR_SCHEDULER"
_SOURCES = ("Cargo.toml", "**/*.rs", "**/*.toml", "**/*.c", "**/*.h", "**/Cargo.lock", "!target/**")


@dataclass(frozen=True)
class Place:
    """Where a program may be, and what a sidecar calls it."""

    how: ResolveSource
    path: Path


def discover_artifact(name: str, wanted: Discover, where: str, request: Build) -> Artifact:
    """The artifact of the scheduler ``name``, declared at ``where`` by ``discover:``.

    Raises InputError when it is nowhere, naming the places, or when KTSTR_SCHEDULER names a file that is not there.
    """
    places = list(_places(wanted, request))
    for place in places:
        if place.how == "env_var" and not place.path.exists():
            raise InputError(f"{VARIABLE}={place.path}: found no such file", fix=f"unset {VARIABLE}, or correct it")
        if place.path.is_file():
            return binary_artifact(name, place.path, where, request.environ, place.how)
    if (wanted.base / "Cargo.toml").is_file():
        return command_artifact(name, _cargo_build(wanted, request), where, request)
    on_path = shutil.which(wanted.name, path=request.environ.get("PATH", os.defpath))
    if on_path is not None:
        return binary_artifact(name, Path(on_path), where, request.environ, "path_lookup")
    sought = ", ".join(str(place.path) for place in places)
    raise InputError(
        f"{where}: discover: found no {wanted.name} at {sought}, no Cargo.toml in {wanted.base}, and none on the PATH",
        fix=f"build it, or {VARIABLE}=PATH/{wanted.name}",
    )


def _places(wanted: Discover, request: Build) -> Iterator[Place]:
    for word in request.environ.get(VARIABLE, "").split(","):
        if "/" in word and Path(word).name == wanted.name:
            yield Place("env_var", Path(os.path.normpath(request.stand / word)))
    yield Place("sibling_dir", wanted.base / wanted.name)
    target = wanted.base / (request.environ.get("CARGO_TARGET_DIR") or "target")
    yield Place("target_debug", target / "debug" / wanted.name)
    yield Place("target_release", target / "release" / wanted.name)


def _cargo_build(wanted: Discover, request: Build) -> Command:
    """In a target folder of ours: what is in the user's own is found, and not looked at again when a source changes."""
    target = request.cache.root / "cargo"
    output = target / "release" / wanted.name
    argv = ("cargo", "build", "--release", "-p", wanted.name)
    there = tuple(glob for glob in _SOURCES if glob.startswith("!") or any(wanted.base.glob(glob)))
    return Command(argv, there, str(output), wanted.base, (("CARGO_TARGET_DIR", str(target)),))
