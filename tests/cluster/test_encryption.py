"""What a client lacks for a scheduler's address is said before it tries."""

from __future__ import annotations

from pathlib import Path

import dask
import pytest

from ktstr.cluster.encryption import check_encryption
from ktstr.errors import HostError

TLS, TCP = "tls://head:8786", "tcp://head:8786"


def configured(**fields: object) -> dict[str, object]:
    """Dask's configuration with these fields of ``distributed.comm``, and no others of encryption."""
    names = ("require-encryption", "tls.ca-file", "tls.client.cert", "tls.client.key")
    return {f"distributed.comm.{name}": fields.get(name.replace(".", "_").replace("-", "_")) for name in names}


def refused(address: str, **fields: object) -> HostError:
    with dask.config.set(configured(**fields)), pytest.raises(HostError) as caught:
        check_encryption(address)
    assert caught.value.message.startswith(f"cluster={address}: ")
    assert "distributed.comm" in str(caught.value.fix)
    return caught.value


@pytest.mark.parametrize("address", [TLS, "wss://head:8786"])
def test_encryption_needs_a_certificate(address: str) -> None:
    assert "no certificate" in refused(address).message
    assert "no certificate" in refused(address, tls_ca_file=__file__).message


def test_a_file_that_is_not_there_is_named_with_its_field(tmp_path: Path) -> None:
    error = refused(TLS, tls_ca_file=__file__, tls_client_cert=__file__, tls_client_key=str(tmp_path / "key.pem"))
    assert error.message.endswith(f"tls.client.key: found no file {tmp_path / 'key.pem'}")


def test_who_requires_encryption_is_not_connected_without() -> None:
    assert "encrypted connections only" in refused(TCP, require_encryption=True).message


def test_what_goes_together_is_let_pass() -> None:
    with dask.config.set(configured()):
        check_encryption(TCP)
    with dask.config.set(configured(require_encryption=True, tls_ca_file=__file__, tls_client_cert="PEM\n")):
        check_encryption(TLS)  # the certificate itself may stand there, with the key in it


def test_a_loader_of_the_users_own_is_left_to_find_certificates() -> None:
    with dask.config.set({**configured(), "distributed.client.security-loader": "my_company.security"}):
        check_encryption(TLS)
