"""Kernels that ktstr builds, driven as a user does: a toy tree that boots a real kernel. Costs about 14 boots: 40 s."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pygit2
import pytest
from pygit2.enums import ResetMode

from ktstr.host.cache import Cache
from ktstr.kernels.listing import read_cache
from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.kernel_lab import YAML, Lab, make_lab
from tests.kernels.repositories import commit_files
from tests.kernels.toy_tree import configure

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(project: UserProject, tmp_path: Path) -> Lab:
    return make_lab(project, tmp_path)


def cells(report: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(cell["name"], cell["verdict"], cell["ran"]) for cell in report["cells"]]


def test_a_clean_tree_is_cached_by_its_commit_and_an_edited_one_is_not(lab: Lab) -> None:
    tree = f"kernel={lab.tree}"
    code, report = lab.test(tree)
    (name, verdict, ran) = cells(report)[0]
    assert (code, verdict, ran) == (0, "pass", True)
    assert name.startswith("one/one/kernel_path_linux_") and "_dirty" not in name
    sidecar = lab.project.sidecar(report["cells"][0])
    commit = str(lab.repository.head.target)
    assert (sidecar["kernel_commit"], sidecar["kernel_label"]) == (commit[:12], name.split("/")[2])
    (first,) = lab.local()
    assert first.startswith(f"local-{commit[:7]}-x86_64-kc")
    assert cells(lab.test(tree)[1]) == [(name, "pass", False)]

    lab.edit()
    code, report = lab.test(tree)
    (dirty, verdict, ran) = cells(report)[0]
    assert (code, dirty, verdict, ran) == (0, name.replace("/eevdf", "_dirty/eevdf"), "pass", True)
    assert lab.local() == [first]
    assert lab.project.sidecar(report["cells"][0])["kernel_commit"] == f"{commit[:12]}-dirty"
    assert cells(lab.test(tree)[1]) == [(dirty, "pass", False)]

    commit_files(lab.repository, {"kernel/part0.c": "int part0_changed;\n"})
    assert cells(lab.test(tree)[1])[0][1:] == ("pass", True)
    assert len(lab.local()) == 2


def test_a_second_clone_of_the_same_commit_has_nothing_to_build(lab: Lab, tmp_path: Path) -> None:
    assert lab.doit("kernel_build", f"source={lab.tree}").returncode == 0
    (key,) = lab.local()
    clone = tmp_path / "elsewhere"
    pygit2.clone_repository(str(lab.tree), str(clone))
    assert not (clone / "vmlinux.path").exists()  # it could not be built again
    done = lab.doit("kernel_build", f"source={clone}", "json=1")
    assert (done.returncode, [row["key"] for row in json.loads(done.stdout)["built"]]) == (0, [key]), done.stderr


def test_a_fragment_that_changes_makes_another_kernel_and_changed_back_finds_the_old_one(lab: Lab) -> None:
    fragment = lab.project.path / "my.config"
    keys = []
    for text in ("CONFIG_A=y\n", "CONFIG_A=y\nCONFIG_B=y\n", "# a reason\nCONFIG_A=y\n"):
        fragment.write_text(text)
        if text.startswith("#"):
            (lab.tree / "vmlinux.path").write_text("/nowhere\n")  # nothing more can be built
        done = lab.doit("kernel_build", f"source={lab.tree}", "kconfig=minimal,./my.config", "json=1")
        assert done.returncode == 0, done.stderr
        keys.append(json.loads(done.stdout)["built"][0]["key"])
    assert keys[0] == keys[2] != keys[1]


def test_a_tree_with_a_configuration_is_built_in_place_and_keeps_it(lab: Lab) -> None:
    options = (ROOT / "kconfig/ktstr.kconfig").read_text()
    configure(lab.tree, options)
    code, report = lab.test(f"kernel={lab.tree}")
    assert (code, cells(report)[0][1]) == (0, "pass")
    assert (lab.tree / ".config").read_text() == options
    assert (lab.tree / "vmlinux").exists()
    assert (lab.tree / "compile_commands.json").exists()
    assert "-cfg" in lab.local()[0]

    configure(lab.tree, options.replace("CONFIG_VIRTIO_CONSOLE=y", "# CONFIG_VIRTIO_CONSOLE is not set"))
    done = lab.doit("test", f"kernel={lab.tree}")
    assert done.returncode == 3
    assert "lacks what a guest boots and reports with: CONFIG_VIRTIO_CONSOLE" in done.stderr
    assert "merge_config.sh" in done.stderr
    refused = lab.doit("test", f"kernel={lab.tree}", "kconfig=minimal")
    assert refused.returncode == 2
    assert "mrproper" in refused.stderr


def test_a_lost_option_names_what_it_depends_on_and_nothing_is_stored(lab: Lab) -> None:
    kconfig = "config SMP\n\tbool\nconfig SCHED_CLASS_EXT\n\tbool\n\tdepends on BPF_SYSCALL && MISSING_THING\n"
    files = {"lose": "CONFIG_VIRTIO_PCI\nCONFIG_SCHED_CLASS_EXT\n", "init/Kconfig": kconfig}
    commit_files(lab.repository, files)
    done = lab.doit("kernel_build", f"source={lab.tree}")
    assert done.returncode == 3
    assert "lost 2 of the options" in done.stderr
    assert "CONFIG_VIRTIO_PCI=y" in done.stderr and "this kernel has no such option" in done.stderr
    assert "depends on BPF_SYSCALL && MISSING_THING; not set: MISSING_THING" in done.stderr
    assert lab.local() == []


def test_what_does_not_compile_says_where_and_leaves_the_cache_alone(lab: Lab) -> None:
    commit_files(lab.repository, {"kernel/part3.c": "int part3;\nint = 3;\n"})
    done = lab.doit("test", f"kernel={lab.tree}")
    assert done.returncode == 3
    assert "kernel/part3.c:2:5: error:" in done.stderr
    assert "the whole output is in" in done.stderr
    assert lab.local() == []
    commit_files(lab.repository, {"kernel/part3.c": "int part3;\n"})
    assert lab.doit("kernel_build", f"source={lab.tree}").returncode == 0


def test_only_what_changed_is_compiled_again(lab: Lab) -> None:
    assert lab.doit("kernel_build", f"source={lab.tree}").returncode == 0
    lab.edit()
    assert lab.doit("kernel_build", f"source={lab.tree}").returncode == 0
    (log,) = [
        path for path in (lab.cache / "logs").iterdir() if "unknown" in path.name or "dirty" in path.name
    ] or sorted((lab.cache / "logs").iterdir(), key=lambda path: path.stat().st_mtime)[-1:]
    assert [line for line in log.read_text().splitlines() if "  CC " in line] == ["  CC      kernel/part0.o"]


def test_two_processes_that_ask_for_one_kernel_build_it_once(lab: Lab) -> None:
    environment = lab.project.environment(KTSTR_CACHE_DIR=str(lab.cache))
    command = [sys.executable, "-m", "ktstr.tasks.main", "kernel_build", f"source={lab.tree}", "json=1"]
    runs = [
        subprocess.Popen(command, cwd=lab.project.path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert told[0]["built"] == told[1]["built"]
    (log,) = (lab.cache / "logs").iterdir()
    assert log.read_text().count("  LD      vmlinux") == 1


def test_a_bisection_ends_at_the_commit_that_broke_it(lab: Lab) -> None:
    good = str(lab.repository.head.target)
    commits = []
    for number in range(5):
        text = "broken\n" if number >= 3 else f"int part1_{number};\n"
        commits.append(commit_files(lab.repository, {"kernel/part1.c": text}))
    for commit, code in ((good, 0), (commits[2], 0), (commits[3], 125), (commits[4], 125)):
        lab.repository.reset(pygit2.Oid(hex=commit), ResetMode.HARD)
        assert lab.doit("test", f"kernel={lab.tree}", "bisect=1").returncode == code
    lab.project.write(YAML.replace("max_gap_ms: 1000", "max_gap_ms: 0"))
    lab.repository.reset(pygit2.Oid(hex=good), ResetMode.HARD)
    assert lab.doit("test", f"kernel={lab.tree}", "bisect=1").returncode == 1
    assert lab.doit("test", f"kernel={lab.tree}", "bisect=1", "preset=nosuch").returncode == 128


def test_two_kernels_run_side_by_side_and_the_list_is_as_its_schema_says(lab: Lab) -> None:
    code, report = lab.test(f"kernel={lab.tree},deb:forky/cloud-amd64")
    names = [name for name, _, _ in cells(report)]
    assert code == 0
    assert names[0].startswith("one/one/kernel_path_linux_") and "kernel_deb_forky_cloud_amd64" in names[1]
    assert len({cell["sidecar"] for cell in report["cells"]}) == 2
    listed = lab.doit("kernel_list", "json=1", "offline=1")
    told = json.loads(listed.stdout)
    schema = json.loads((ROOT / "schemas/kernel_list.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(told)
    assert {entry["source"]["type"] for entry in told["entries"]} == {"deb", "local"}
    kept = lab.doit("kernel_clean", "keep=1", "force=1")
    assert kept.returncode == 0, kept.stderr
    assert len(read_cache(Cache(lab.cache))) == 1


def test_without_a_declared_kernel_one_is_found_and_the_run_says_which(lab: Lab) -> None:
    lab.project.write(YAML.replace('kernels: {default: "deb:forky/cloud-amd64"}\n', ""))
    lab.tree.rename(lab.project.path / "linux")
    done = lab.doit("test", "dry_run=1")
    assert done.returncode == 0, done.stderr
    assert f"kernel {lab.project.path / 'linux'}: the tree ./linux" in done.stderr
    assert "one/one/kernel_path_linux_" in done.stdout


def test_force_builds_again_but_never_under_a_running_machine(lab: Lab) -> None:
    assert lab.doit("kernel_build", f"source={lab.tree}").returncode == 0
    (key,) = lab.local()
    with Cache(lab.cache).reading("kernels", key):
        refused = lab.doit("kernel_build", f"source={lab.tree}", "force=1")
    assert refused.returncode == 3
    assert "locked by active test runs" in refused.stderr and f"pid={os.getpid()}" in refused.stderr
    before = (lab.cache / "kernels" / key / "metadata.json").stat().st_ino
    assert lab.doit("kernel_build", f"source={lab.tree}", "force=1", "clean=1").returncode == 0
    assert (lab.cache / "kernels" / key / "metadata.json").stat().st_ino != before
    (log,) = (lab.cache / "logs").iterdir()
    assert log.read_text().count("  CC ") == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["version=6.14", "source=."], "found version=6.14 and source=., expected one of them"),
        (["git=https://host/repo"], "expected git= and ref= together"),
        (["cpu_cap=100000", "source=."], "exceeds the"),
        (["source=/nowhere/linux"], "found nothing"),
        (["version=v6.14"], "write 6.14"),
        (["kconfig=debgu", "source=."], "nearest match 'debug'"),
    ],
)
def test_what_kernel_build_cannot_mean_is_refused(lab: Lab, words: list[str], said: str) -> None:
    tree = [word.replace("source=.", f"source={lab.tree}") for word in words]
    done = lab.doit("kernel_build", *tree)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert said.replace("source=.", f"source={lab.tree}") in done.stderr
