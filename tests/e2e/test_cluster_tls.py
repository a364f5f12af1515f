"""A cluster behind certificates: Dask's own configuration is all it takes, and who has none is told so."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktstr.host.cache import cache_root
from tests.cluster.hosts import Bed, bed, run
from tests.e2e.askers import HubProject, asker, have_probed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SHORT = """\
kernels: {default: "deb:forky/cloud-amd64"}
presets: {one: 1n1l1c1t}
tests: {brief: {duration: 100ms, cgroups: [{name: all, workers: 1}]}}
matrices: {all: {tests: [brief], presets: [one]}}
"""
ROLES = ("scheduler", "worker", "client")
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class Authority:
    """A CA of its own in ``folder``, and a certificate that it signed."""

    folder: Path

    def issue(self) -> None:
        def at(name: str) -> str:
            return str(self.folder / name)

        self.folder.mkdir()
        run("openssl", "req", "-x509", *NEW_KEY, "-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/CN=ca")
        run("openssl", "req", *NEW_KEY, "-keyout", at("key.pem"), "-out", at("request.pem"), "-subj", "/CN=ktstr")
        signed = ("-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial")
        run("openssl", "x509", "-req", "-in", at("request.pem"), *signed, "-out", at("cert.pem"))

    def settings(self, *roles: str) -> dict[str, str]:
        """Dask's configuration for these, by its environment variables."""
        found = {"tls.ca_file": self.folder / "ca.pem"}
        for role in roles:
            found |= {f"tls.{role}.cert": self.folder / "cert.pem", f"tls.{role}.key": self.folder / "key.pem"}
        return {_variable(name): str(path) for name, path in found.items()} | {_variable("require_encryption"): "true"}


def _variable(name: str) -> str:
    return f"DASK_DISTRIBUTED__COMM__{name.replace('.', '__').upper()}"


def issued(folder: Path) -> Authority:
    authority = Authority(folder)
    authority.issue()
    return authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return issued(tmp_path_factory.mktemp("ca") / "ours")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, authority: Authority, lock: str) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("bed")
    have_probed(folder, 1)
    with bed(folder, cache_root(os.environ), 1, "tls", **authority.settings(*ROLES)) as made:
        yield made


@pytest.fixture
def project(tmp_path: Path, host: Bed, lock: str) -> HubProject:
    return asker(tmp_path, host, lock, SHORT)


def test_a_cell_passes_where_both_sides_have_certificates(project: HubProject, host: Bed, authority: Authority) -> None:
    done = project.doit("test", "json=1", f"cluster={host.address}", **authority.settings("client"))
    assert done.returncode == 0, done.stderr + host.logs()
    assert [cell["verdict"] for cell in json.loads(done.stdout)["cells"]] == ["pass"]
    assert re.search(r" on host1$", done.stderr, re.MULTILINE), done.stderr


def test_who_has_no_certificate_is_told_what_to_set(project: HubProject, host: Bed) -> None:
    assert_refused(project, host.address, "found no certificate for it on this host", "distributed.comm.tls.ca-file")


def test_a_certificate_of_another_authority_is_refused(project: HubProject, host: Bed, tmp_path: Path) -> None:
    other = issued(tmp_path / "other").settings("client")
    assert_refused(project, host.address, "cannot be reached", "certificates of one CA on both sides", **other)


def test_an_address_without_encryption_is_refused(project: HubProject, host: Bed) -> None:
    assert_refused(project, host.address.replace("tls", "tcp"), "cannot be reached", "by that scheme?")


def assert_refused(project: HubProject, address: str, why: str, fix: str, **extra: str) -> None:
    """Exit 3 with a message that names the cluster and what to do, in seconds, and nothing was run."""
    done = project.doit("test", f"cluster={address}", timeout=40, **extra)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr + done.stdout
    assert f"cluster={address}: " in done.stderr and why in done.stderr and fix in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project.path / "target").rglob("record.json"))
