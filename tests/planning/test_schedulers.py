"""What is wrong with one scheduler, and what is edited after the plan was made, as a user sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.host.cache import cache_root

ROOT = Path(__file__).parent.parent.parent
GOOD = ROOT / "schedulers" / "scx_ktstr"
YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  good: {source: GOOD}
  there: {path: ./there}
  bad: BAD
presets: {pair: 1n1l2c1t}
tests:
  busy: {cgroups: [{name: one, workers: 2}]}
"""


def project(folder: Path, bad: str = "{path: ./nosuch}") -> Path:
    """A user's repository with one scheduler that is built, one that is there, and ``bad``."""
    (folder / "dodo.py").write_text("from ktstr.tasks.graph import *  # noqa: F403\n")
    shutil.copy(ROOT / "ktstr.lock", folder)
    (folder / "ktstr.yaml").write_text(YAML.replace("GOOD", str(GOOD)).replace("BAD", bad))
    build_program(folder / "there", 0)
    return folder


def build_program(out: Path, status: int) -> None:
    source = f"int main(void) {{ return {status}; }}\n".encode()
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(out)], input=source, check=True)


def doit(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The front end, without the network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KTSTR_")}
    kept |= {"KTSTR_CACHE_DIR": str(cache_root(os.environ)), "PYTHONPATH": str(ROOT)} | extra
    command = [
        sys.executable,
        "-m",
        "ktstr.tasks.main",
        *words,
        "test=busy",
        "preset=pair",
        "accel=icount",
        "offline=1",
    ]
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=120, check=False)


def planned(folder: Path, *words: str) -> dict[str, str]:
    """Why each cell would run, by its scheduler."""
    done = doit(folder, "test", "dry_run=1", "json=1", *words)
    assert done.stdout, done.stderr
    return {cell["name"].split("/")[3]: cell["why"] for cell in json.loads(done.stdout)["cells"]}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{path: ./nosuch}", "ktstr.yaml:5:8: scheduler binary FOLDER/nosuch: found no such file"),
        ("{path: ./script}", "ktstr.yaml:5:8: scheduler binary FOLDER/script: found a script"),
        ("{path: ~nobody-of-this-name/scx}", "found no such file"),
        ("{path: ./needy}", "needy needs the library libgone.so, which was not found"),
        ("{source: ./nosuch}", "scheduler source FOLDER/nosuch: found no such folder"),
        ("{source: ./empty}", "scheduler source FOLDER/empty: found 0 *.bpf.c"),
        ("{source: ./unreadable}", "odd.h: Input/output error"),
    ],
)
def test_whatever_is_wrong_with_a_scheduler_is_an_error_of_its_own_cells(tmp_path: Path, bad: str, why: str) -> None:
    folder = project(tmp_path, bad)
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "empty").mkdir()
    shutil.copytree(GOOD, folder / "unreadable")
    (folder / "unreadable/odd.h").symlink_to("/proc/self/mem")
    link = ["gcc", "-x", "c", "-", "-shared", "-o", str(folder / "libgone.so")]
    subprocess.run(link, input=b"int gone;\n", check=True)
    use = ["gcc", "-x", "c", "-", "-o", str(folder / "needy"), f"-L{folder}", "-Wl,--no-as-needed", "-lgone"]
    subprocess.run(use, input=b"int main(void) { return 0; }\n", check=True)
    (folder / "libgone.so").unlink()
    cells = planned(folder, "scheduler=good,there,bad")
    assert cells["good"].startswith("run: ") and cells["there"].startswith("run: ")
    assert cells["bad"].startswith("error: ") and why.replace("FOLDER", str(folder)) in cells["bad"]


def test_a_missing_compiler_is_an_error_of_the_schedulers_that_are_built(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "bin").mkdir()
    for tool in ("gcc", "as", "ld"):
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or "")
    done = doit(folder, "test", "dry_run=1", "json=1", "scheduler=good,there", PATH=str(folder / "bin"))
    cells = {cell["name"].split("/")[3]: cell["why"] for cell in json.loads(done.stdout)["cells"]}
    assert cells["there"].startswith("run: ")
    assert cells["good"].startswith("error: clang is not installed")


def test_a_missing_cargo_is_an_error_of_the_crates_and_says_how_to_get_it(tmp_path: Path) -> None:
    folder = project(tmp_path, "{crate: scx_bpfland@1.1.4}")
    (folder / "bin").mkdir()
    for tool in ("gcc", "as", "ld"):
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or "")
    path = {"PATH": str(folder / "bin")}
    done = doit(folder, "test", "dry_run=1", "json=1", "scheduler=there,bad", **path)
    cells = {cell["name"].split("/")[3]: cell["why"] for cell in json.loads(done.stdout)["cells"]}
    assert cells["there"].startswith("run: ")
    assert cells["bad"].startswith("error: cargo is not installed: a scheduler declared by crate:")
    alone = doit(folder, "scheduler", "scheduler=bad", **path)
    assert alone.returncode == 3
    assert "fix: install Rust: with rustup" in alone.stderr and "1.91" in alone.stderr


def test_when_nothing_else_was_selected_it_is_the_users_input_that_is_wrong(tmp_path: Path) -> None:
    done = doit(project(tmp_path), "test", "dry_run=1", "scheduler=bad")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nosuch: found no such file" in done.stderr


def test_a_program_that_is_edited_while_the_agent_compiles_gets_no_image(tmp_path: Path) -> None:
    """The compiler puts another program in the place of the one that was planned with."""
    folder, cache = project(tmp_path), tmp_path / "cache"
    cache.mkdir()
    (cache / "kernels").symlink_to(cache_root(os.environ) / "kernels")  # its configuration goes into the initramfs
    build_program(folder / "other", 1)
    (folder / "cc").write_text(
        f'#!/bin/sh\ncase "$*" in *-static*) cp {folder}/other {folder}/there ;; esac\nexec gcc "$@"\n'
    )
    (folder / "cc").chmod(0o755)
    words = ("image", "scheduler=there")
    done = doit(folder, *words, KTSTR_CACHE_DIR=str(cache), CC=str(folder / "cc"))
    assert done.returncode == 3
    assert f"scheduler binary {folder / 'there'}: it or a library that it needs changed while ktstr" in done.stderr
    assert "fix: run the command again" in done.stderr
    assert len(list(cache.glob("images/*/*"))) <= 1  # the kernel's configuration
    again = doit(folder, *words, KTSTR_CACHE_DIR=str(cache))
    assert again.returncode == 0, again.stderr
    assert len(list(cache.glob("images/*/image.cpio"))) == 2
