"""Pools for tests: run directories with sidecars in them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import dump
from tests.results.cells import sidecar

OLD = time.time() - 3600  # long enough ago that an index takes a file's time of change at its word


def put(root: Path, place: str, whole: Sidecar | bytes | None = None) -> Path:
    """Write a sidecar (``sidecar()`` without one), or bytes in its place, as ``root/place.ktstr.json``."""
    path = root / f"{place}.ktstr.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole if isinstance(whole, bytes) else dump(whole or sidecar()))
    os.utime(path, (OLD, OLD))
    return path
