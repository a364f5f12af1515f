"""Releases from a kernel.org on loopback, through the command line. Costs 4 short builds and 3 boots: 20 s."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.host.cache import Cache
from ktstr.kernels.listing import read_cache
from tests.e2e.conftest import UserProject
from tests.e2e.kernel_lab import Lab, make_lab
from tests.host.web import Web, web_server

pytestmark = pytest.mark.e2e
FOLDER = "/pub/linux/kernel/v6.x"


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture
def lab(project: UserProject, tmp_path: Path) -> Lab:
    return make_lab(project, tmp_path)


def tarball(lab: Lab, version: str) -> bytes:
    """The toy tree as kernel.org packs a release; every version has contents of its own."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(lab.tree.rglob("*")):
            name = path.relative_to(lab.tree)
            if ".git" not in name.parts and path.is_file():
                archive.add(path, f"linux-{version}/{name}")
        note = tarfile.TarInfo(f"linux-{version}/VERSION")
        note.size = len(version)
        archive.addfile(note, io.BytesIO(version.encode()))
    return packed.getvalue()


def publish(web: Web, lab: Lab, *versions: str) -> None:
    """A mirror with these releases, each the newest of its series, the newest series first."""
    rows = [{"moniker": "longterm", "version": version, "iseol": False} for version in versions]
    web.files["/releases.json"] = json.dumps({"releases": rows}).encode()
    sums = ""
    for version in versions:
        data = lzma.compress(tarball(lab, version))
        web.files[f"{FOLDER}/linux-{version}.tar.xz"] = data
        sums += f"{hashlib.sha256(data).hexdigest()}  linux-{version}.tar.xz\n"
    web.files[f"{FOLDER}/sha256sums.asc"] = sums.encode()


def test_releases_are_fetched_built_and_run(lab: Lab, web: Web) -> None:
    publish(web, lab, "6.14.9", "6.13.4")
    done = lab.doit("test", "kernel=6.13..6.14.9", "json=1", KTSTR_KERNEL_ORG=web.url)
    assert done.returncode == 0, done.stderr
    names = [cell["name"] for cell in json.loads(done.stdout)["cells"]]
    assert names == ["one/one/kernel_6_13_4/eevdf/icount-s0", "one/one/kernel_6_14_9/eevdf/icount-s0"]
    keys = {
        row.key.partition("-x86_64")[0] for row in read_cache(Cache(lab.cache)) if row.version in ("6.13.4", "6.14.9")
    }
    assert keys == {"6.13.4-tarball", "6.14.9-tarball"}

    asked = len(web.seen)
    done = lab.doit("test", "kernel=6.13..6.14.9", "json=1", "offline=1")
    assert (done.returncode, len(web.seen)) == (0, asked)
    assert not any(cell["ran"] for cell in json.loads(done.stdout)["cells"])

    publish(web, lab, "6.14.10", "6.13.4")
    pins = json.loads((lab.project.path / "ktstr.lock").read_text())["kernels"]
    assert pins["6.13..6.14.9"] == {"versions": ["6.13.4", "6.14.9"]}
    done = lab.doit("kernel_build", "version=6.14", "json=1", KTSTR_KERNEL_ORG=web.url)
    assert json.loads(done.stdout)["built"][0]["key"].startswith("6.14.10-tarball-"), done.stderr


def test_a_tarball_that_is_not_the_published_one_is_refused_and_nothing_stays(lab: Lab, web: Web) -> None:
    publish(web, lab, "6.14.9")
    web.files[f"{FOLDER}/linux-6.14.9.tar.xz"] = lzma.compress(tarball(lab, "6.14.9") + b"\0" * 512)
    done = lab.doit("kernel_build", "version=6.14.9", KTSTR_KERNEL_ORG=web.url)
    assert done.returncode == 3
    assert "SHA-256 is" in done.stderr and "expected" in done.stderr
    assert not list((lab.cache / "sources").glob("6*"))
    assert not [row for row in read_cache(Cache(lab.cache)) if row.version == "6.14.9"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("6.14.99", "not found at kernel.org; the newest of 6.14 is 6.14.9"),
        ("6.15-rc1", "RC tarball not found"),
        ("6.1..6.2", "expanded to 0"),
        ("6.77", "found"),
        ("6.14..6.13", "write it as 6.13..6.14"),
    ],
)
def test_what_does_not_exist_is_the_users_mistake(lab: Lab, web: Web, word: str, said: str) -> None:
    publish(web, lab, "6.14.9")
    done = lab.doit("test", f"kernel={word}", KTSTR_KERNEL_ORG=web.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_range_can_be_looked_at_without_building(lab: Lab, web: Web) -> None:
    publish(web, lab, "6.14.9", "6.13.4", "6.12.40")
    done = lab.doit("kernel_list", "range=6.12..6.13.4", KTSTR_KERNEL_ORG=web.url)
    assert (done.returncode, done.stdout) == (0, "6.12.40\n6.13.4\n")


def test_a_candidate_is_fetched_once_and_must_stay_what_it_was(lab: Lab, web: Web) -> None:
    publish(web, lab, "6.14.9")
    path = "/torvalds/t/linux-6.15-rc3.tar.gz"
    web.files[path] = gzip.compress(tarball(lab, "6.15-rc3"))
    done = lab.doit("kernel_build", "version=6.15-rc3", KTSTR_KERNEL_ORG=web.url)
    assert done.returncode == 0, done.stderr
    assert len(web.asked(path)) == 1
    assert lab.doit("kernel_clean", "force=1").returncode == 0
    web.files[path] = gzip.compress(tarball(lab, "6.15-rc4"))
    done = lab.doit("kernel_build", "version=6.15-rc3", KTSTR_KERNEL_ORG=web.url)
    assert done.returncode == 3
    assert "SHA-256 is" in done.stderr


def test_one_of_a_range_that_does_not_build_does_not_stop_the_others(lab: Lab, web: Web) -> None:
    publish(web, lab, "6.14.9")
    good = dict(web.files)
    (lab.tree / "kernel/part1.c").write_text("int = 3;\n")
    publish(web, lab, "6.14.9", "6.13.4")
    sums = web.files[f"{FOLDER}/sha256sums.asc"] + good[f"{FOLDER}/sha256sums.asc"]
    kept = [line for line in sums.splitlines() if b"6.13.4" in line or line in good[f"{FOLDER}/sha256sums.asc"]]
    web.files |= {name: data for name, data in good.items() if "6.14.9" in name}
    web.files[f"{FOLDER}/sha256sums.asc"] = b"\n".join(kept) + b"\n"
    done = lab.doit("kernel_build", "version=6.13..6.14.9", KTSTR_KERNEL_ORG=web.url)
    assert done.returncode == 3
    assert "1/2 version(s) failed: kernel_6_13_4" in done.stdout
    assert "6.14.9-tarball-x86_64" in done.stdout
