"""What running on a cluster needs beside what running here does: the extra ``cluster``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from shlex import quote

from ktstr.errors import HostError

# What the extra in pyproject.toml brings, by the name under which it is imported; a test compares.
CLUSTER = ("distributed",)


def need_cluster(address: str) -> None:
    """Raise HostError, naming the command that helps, where dask.distributed is not installed."""
    if all(find_spec(name) is not None for name in CLUSTER):
        return
    wrapper = os.environ.get("KTSTR_CALLED_AS")  # a checkout's ./doit, which sets itself up for what it is given
    raise HostError(
        f"cluster={address} needs dask.distributed, which ktstr installs only when asked to",
        fix=f"{quote(wrapper)} doctor cluster={quote(address)}" if wrapper else "pip install 'ktstr[cluster]'",
    )
