"""Kernels with patches, driven as a user does, on the toy tree: no guest boots. Costs 12 short builds and runs: 8 s.

And the kernel's own complaints: one cell of one vCPU, 5 s.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from ktstr.host.cache import Cache
from ktstr.kernels.listing import read_cache
from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.kernel_lab import Lab, make_lab
from tests.kernels.repositories import commit_files

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CHANGE = "--- a/kernel/part{n}.c\n+++ b/kernel/part{n}.c\n@@ -1 +1,2 @@\n int part{n};\n+int {name};\n"
YAML = """
kernels:
  plain: "git+{tree}#main"
  one: {{spec: "git+{tree}#main", patch: one.patch}}
  both: {{spec: "git+{tree}#main", patch: [one.patch, two.patch]}}
  unfit: {{spec: "git+{tree}#main", patch: [two.patch, unfit.patch]}}
  out: {{spec: "git+{tree}#main", patch: out.patch}}
  built: {{spec: "deb:forky/cloud-amd64", patch: one.patch}}
  mine: {{spec: "{tree}", patch: one.patch}}
tests: {{t: {{cgroups: [a]}}}}
"""


@pytest.fixture
def lab(project: UserProject, tmp_path: Path) -> Lab:
    lab = make_lab(project, tmp_path)
    commit_files(lab.repository, {"vmlinux.tracked": (lab.tree / "vmlinux.path").read_text()})
    project.write(YAML.format(tree=lab.tree))
    for n, name in ((1, "one"), (2, "two")):
        (project.path / f"{name}.patch").write_text(CHANGE.format(n=n, name=name))
    (project.path / "unfit.patch").write_text(CHANGE.format(n=2, name="x").replace(" int part2", " int part"))
    (project.path / "out.patch").write_text(CHANGE.format(n=1, name="x").replace("a/kernel", "a/../../kernel"))
    return lab


def built(lab: Lab, name: str) -> tuple[str, list[str]]:
    """The key of a kernel that is built now, and the sources that were compiled for it."""
    done = lab.doit("kernel_build", f"kernel={name}", "json=1")
    assert done.returncode == 0, done.stderr
    (key,) = [kernel["key"] for kernel in json.loads(done.stdout)["built"]]
    log = lab.cache / "logs" / f"{key}.log"
    return key, re.findall(r"  CC      kernel/(\w+)\.o", log.read_text()) if log.exists() else []


def test_patched_kernels_share_what_is_compiled_and_have_keys_of_their_own(lab: Lab) -> None:
    one, compiled = built(lab, "one")
    assert len(compiled) == 12 and "+p" in one
    both, compiled = built(lab, "both")
    assert compiled == ["part2"] and both != one
    plain, compiled = built(lab, "plain")
    assert sorted(compiled) == ["part1", "part2"] and "+p" not in plain
    again, _ = built(lab, "one")
    assert again == one

    rows = {row.key: row.entry for row in read_cache(Cache(lab.cache)) if row.entry}
    schema = json.loads((ROOT / "schemas/kernel_metadata.schema.json").read_text())
    for key, names in ((one, ["one.patch"]), (both, ["one.patch", "two.patch"]), (plain, [])):
        entry = rows[key]
        assert entry is not None
        jsonschema.validate(dict(entry.facts), schema)
        assert [patch["name"] for patch in entry.facts["source"].get("patches", [])] == names

    (lab.project.path / "one.patch").write_text(CHANGE.format(n=1, name="uno"))
    changed, compiled = built(lab, "one")
    assert changed != one and sorted(compiled) == ["part1"]
    assert lab.doit("kernel_clean", "force=1").returncode == 0
    assert not any((lab.cache / "builds").iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unfit", "unfit.patch:3: hunk 1 of kernel/part2.c (@@ -1 +1,2 @@) does not fit main-git-"),
        ("out", "out.patch:1: found the name 'a/../../kernel/part1.c', expected a path inside the tree"),
        ("built", "kernel built: found patch beside deb:forky/cloud-amd64, which comes built, expected sources"),
        ("mine", "kernel mine: found patch beside the tree "),
    ],
)
def test_a_patch_that_cannot_be_applied_is_the_users_to_mend(lab: Lab, name: str, said: str) -> None:
    for _ in range(2):  # before the sources are there, and after
        done = lab.doit("kernel_build", f"kernel={name}")
        assert done.returncode == 2, done
        assert said in done.stderr and "Traceback" not in done.stderr
    assert not [row for row in read_cache(Cache(lab.cache)) if "main-git" in row.key]


WARNING = "WARNING: CPU: 0 PID: 7 at kernel/sched/fair.c:1 said+0x1/0x2"
SAYS = f'open(K, ">", "/dev/kmsg") or die $!; syswrite(K, "{WARNING}\\n")'
COMPLAINS = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
payloads: {{says: {{path: /usr/bin/perl, args: [-e, '{SAYS}']}}}}
tests:
  complains:
    topology: 1n1l1c1t
    duration: 50ms
    steps:
      - ops: [{{op: run, payload: says}}, {{op: wait, payload: says, timeout: 5s}}]
        cgroups: [{{name: a, workers: 1}}]
"""


def test_the_kernels_log_is_read_under_every_scheduler(project: UserProject) -> None:
    project.write(COMPLAINS)
    done = project.doit("test", "test=complains", "json=1")
    (cell,) = json.loads(done.stdout)["cells"]
    assert (done.returncode, cell["verdict"]) == (1, "fail")
    assert f"s of its log: {WARNING}" in cell["reasons"][0]
