"""Which cluster cells are run on: by its scheduler's address, or one that is made for this run on this host."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ktstr.errors import InputError

LOCAL, NONE = "local", "none"
VARIABLE = "DASK_SCHEDULER_ADDRESS"  # Dask's own
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+:\d{1,5}")


def cluster_address(given: str | None, environ: Mapping[str, str], declared: str | None) -> str | None:
    """The first of ``cluster=`` (or ``KTSTR_CLUSTER``), ``DASK_SCHEDULER_ADDRESS`` and what ktstr.yaml declares that
    says something; None for this host, which ``none`` means too. Raises InputError for what is no address."""
    asked = ((given, "cluster="), (environ.get(VARIABLE), VARIABLE), (declared, "ktstr.yaml: cluster"))
    for text, origin in asked:
        if text:
            return _checked(text, origin)
    return None


def _checked(text: str, origin: str) -> str | None:
    if text == NONE:
        return None
    if text != LOCAL and not _ADDRESS.fullmatch(text):
        raise InputError(
            f"{origin}: found {text!r}, expected {LOCAL}, {NONE} or the address of a Dask scheduler",
            fix="such as cluster=tcp://big-host:8786 (tls:// with certificates)",
        )
    return text
