"""``doit verifier`` for real: a scheduler that loads, one that is dear to verify, one that is refused, and what is no
scheduler of the sweep.

Cost: four machines loaded, about 60 s.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema_rs
import pygit2
import pytest

from ktstr.host.cache import cache_root
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
SCHEMA = json.loads((ROOT / "schemas/verifier.schema.json").read_text())
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {SOURCE}}}
  walks: {{source: {SOURCE}, args: [--verify-loop, 2000]}}
  refused: {{source: {SOURCE}, args: [--fail-verify]}}
tests:
  other: {{duration: 1s, cgroups: [{{name: a, workers: 1}}]}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    made = make_project(tmp_path_factory.mktemp("verifier"), lock)
    made.write(YAML)
    return made


@pytest.fixture(scope="module")
def swept(project: UserProject) -> tuple[int, dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The exit code, the cells by scheduler, and the differences, of a sweep of all that is declared."""
    done = project.doit("verifier", "json=1")
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    jsonschema_rs.Draft202012Validator(SCHEMA).validate(found)
    return done.returncode, {cell["scheduler"]: cell for cell in found["cells"]}, found["differences"]


def test_every_scheduler_but_the_kernels_own_is_swept_and_one_that_does_not_load_exits_1(swept: Any) -> None:
    code, cells, _ = swept
    assert code == 1
    assert {name: cell["status"] for name, cell in cells.items()} == {
        "scx_ktstr": "loaded", "walks": "loaded", "refused": "refused",
    }  # fmt: skip


def test_programs_have_what_the_verifier_walked_of_each(swept: Any) -> None:
    _, cells, _ = swept
    plain, dear = (
        {row["name"]: row["verified_insns"] for row in cells[name]["programs"]} for name in ("scx_ktstr", "walks")
    )
    assert plain.keys() == dear.keys() and "ktstr_dispatch" in plain
    grown = {name for name in plain if dear[name] > plain[name] + 2000}
    assert len(grown) == 1  # only the one with the loop: at least one instruction in each of 2000 rounds
    assert cells["scx_ktstr"]["total_verified_insns"] == sum(plain.values())


def test_a_refusal_has_the_verifiers_reason_the_program_and_its_log(swept: Any) -> None:
    _, cells, _ = swept
    refused = cells["refused"]
    assert refused["reason"] == "R1 invalid mem access 'scalar'"
    assert refused["refused_program"] == "ktstr_dispatch"
    assert refused["programs"] == []
    assert refused["log_stats"]["processed_insns"] > 0
    assert any("R1 invalid mem access 'scalar'" in line for line in refused["log"])


def test_two_schedulers_are_compared_program_by_program(project: UserProject) -> None:
    done = project.doit("verifier", "json=1", "scheduler=scx_ktstr,walks")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["differences"]
    assert (one["axis"], one["a"], one["b"]) == ("scheduler", "scx_ktstr", "walks")
    assert any(row["delta"] and row["delta"] > 2000 for row in one["programs"])
    text = project.doit("verifier", "scheduler=scx_ktstr,walks").stdout
    assert "PROGRAM" in text and "DELTA" in text and "2 cells: 2 load" in text


def test_the_kernels_own_scheduler_tests_and_raw_images_are_refused(project: UserProject) -> None:
    for given, words in {
        "scheduler=eevdf": "eevdf is the kernel's own, and has no BPF programs to verify",
        "test=other": "the sweep has its own test",
        "work_type=Mixed": "the sweep has its own workers",
        f"kernel={a_raw_image(project)}": "is a raw image",
    }.items():
        done = project.doit("verifier", given)
        assert done.returncode == 2 and words in done.stderr, (given, done.stderr)


def a_raw_image(project: UserProject) -> Path:
    """The default kernel's image, as a file that somebody has lying about."""
    cached = sorted((cache_root(os.environ) / "kernels").glob("*cloud*/vmlinux"))
    target = project.path / "bzImage"
    if not target.exists():
        target.symlink_to(cached[0])
    return target


def test_two_commits_are_compared(tmp_path: Path, lock: str) -> None:
    made = make_project(tmp_path, lock)
    made.write(
        YAML.replace("[--verify-loop, 2000]", "[--verify-loop, 100]").replace("  refused:", "  refused_not_meant:")
    )
    repository = pygit2.init_repository(str(tmp_path))
    (tmp_path / ".gitignore").write_text("target\n.venv\n.doit*\n")
    repository.index.add_all()
    repository.index.write()
    who = pygit2.Signature("a", "a@example.org", 1, 0)
    repository.create_commit("HEAD", who, who, "first", repository.index.write_tree(), [])
    made.write(YAML.replace("  refused:", "  refused_not_meant:"))
    done = made.doit("verifier", "json=1", "scheduler=walks", "base=HEAD")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [cell["commit"].endswith("-dirty") for cell in found["cells"]] == [False, True]
    (one,) = found["differences"]
    assert one["axis"] == "commit"
    assert any(row["delta"] and row["delta"] > 1500 for row in one["programs"])
