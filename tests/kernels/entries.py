"""Cache entries made by hand for tests of what reads the cache: small, whole, of any age and kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ktstr.host.cache import Cache
from ktstr.kernels.cache import KIND, METADATA, Made, write_entry
from ktstr.kernels.image import read_image
from ktstr.kernels.kconfig import load_kconfig
from tests.kernels.images import CONFIG, vmlinux


def add_entry(cache: Cache, key: str, built_at: str, **told: Any) -> Path:
    """A whole entry; ``told`` overrides fields of its metadata."""
    folder = cache.entry(KIND, key)
    folder.mkdir(parents=True)
    write_entry(folder, key, "a" * 64, {"type": "image", "path": "/x"}, read_image(vmlinux()), CONFIG, Made())
    path = folder / METADATA
    path.write_text(json.dumps({**json.loads(path.read_text()), "built_at": built_at, **told}))
    return folder


def kconfig(*words: str, digest: str | None = None) -> dict[str, object]:
    """The ``kconfig`` of an entry that was configured by these words, today or (``digest``) once."""
    found = load_kconfig(words, Path("/"))
    return {"base": found.base, "fragments": list(found.words[1:]), "digest": digest or found.digest}


def add_corrupt(cache: Cache, key: str, text: str | None) -> Path:
    """An entry whose metadata is that text, or is not there."""
    folder = cache.entry(KIND, key)
    folder.mkdir(parents=True)
    if text is not None:
        (folder / METADATA).write_text(text)
    return folder
