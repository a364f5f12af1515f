"""What running on a cluster needs beside what running here does."""

from __future__ import annotations

from importlib.util import find_spec

from ktstr.errors import HostError


def need_cluster() -> None:
    """Raise HostError where dask.distributed is not installed."""
    if find_spec("distributed") is None:
        raise HostError("cells on a cluster need dask.distributed", fix="pip install 'ktstr[cluster]'")
