"""Whether Dask's own configuration here goes with a scheduler's address: certificates for tls:// and wss://."""

from __future__ import annotations

from pathlib import Path

import dask
from distributed.security import Security

from ktstr.errors import HostError

_SCHEMES = ("tls://", "wss://")
_FIELDS = ("tls.ca-file", "tls.client.cert", "tls.client.key")  # of Dask's configuration, below distributed.comm
_FIX = "in Dask's configuration: distributed.comm.tls.ca-file, .tls.client.cert and .tls.client.key"


def check_encryption(address: str) -> None:
    """Raises HostError when a client would not even try: Dask's then leaves a thread that its end waits for."""
    if dask.config.get("distributed.client.security-loader"):
        return  # the user's own code finds the certificates
    if address.startswith(_SCHEMES):
        _check_certificate(address)
    elif Security().require_encryption:
        raise HostError(
            f"cluster={address}: Dask's configuration on this host allows encrypted connections only",
            fix="a tls:// address, or distributed.comm.require-encryption: false",
        )


def _check_certificate(address: str) -> None:
    files = {field: dask.config.get(f"distributed.comm.{field}") for field in _FIELDS}
    if not (files["tls.ca-file"] and files["tls.client.cert"]):
        raise HostError(f"cluster={address}: found no certificate for it on this host", fix=_FIX)
    for field, file in files.items():
        if file and "\n" not in file and not Path(file).is_file():  # else it is the certificate itself
            raise HostError(f"cluster={address}: {field}: found no file {file}", fix=_FIX)
