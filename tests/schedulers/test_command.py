"""``build:`` and ``discover:``: real commands in a folder, in a second each."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.config.model import Command, Discover, SchedulerDecl, SchedulerKind
from ktstr.errors import HostError, InputError
from ktstr.files import file_sha256
from ktstr.host.cache import Cache
from ktstr.schedulers.artifact import Artifact, Build
from ktstr.schedulers.find import find_scheduler
from ktstr.tools.pinned import BpfTools

WHERE = "ktstr.yaml:7:11"
MAKEFILE = """\
scx_mine: main.c
\t@echo building >> runs
\t@env > seen
\t$(CC) -o $@ main.c
"""


def no_tools() -> BpfTools:
    raise HostError("the BPF tools cannot be had")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "src/Makefile").write_text(MAKEFILE)
    (made / "src/main.c").write_text("int main(void) { return 0; }\n")
    return made


@pytest.fixture
def request_(tmp_path: Path) -> Build:
    environ = {**os.environ, "SECRET": "x"}
    build = Build("6.14", "id", "kernel:6.14", tmp_path / "none", no_tools, Cache(tmp_path / "cache"), environ)
    return replace(build, stand=tmp_path)


def command(folder: Path, *argv: str, **changes: object) -> Command:
    made = Command(argv or ("make", "-C", "src"), ("src/**", "!src/runs", "!src/seen"), "src/scx_mine", folder)
    return replace(made, **changes)  # type: ignore[arg-type]


def plan(kind: SchedulerKind, request: Build) -> Artifact:
    artifact = find_scheduler(SchedulerDecl("mine", kind, where=WHERE), request)
    assert artifact is not None
    return artifact


def make(artifact: Artifact) -> Path:
    assert artifact.build is not None and artifact.fresh is not None
    artifact.build()
    assert artifact.fresh()
    artifact.verify()
    return artifact.binary


def refusal(kind: SchedulerKind, request: Build) -> str:
    with pytest.raises(InputError) as err:
        make(plan(kind, request))
    return str(err.value)


def test_what_a_command_makes_is_kept_and_made_again_only_when_an_input_changes(folder: Path, request_: Build) -> None:
    first = plan(command(folder), request_)
    binary = make(first)
    assert subprocess.run([binary], check=False).returncode == 0
    facts = json.loads(binary.with_name("metadata.json").read_text())
    assert facts["binary_sha256"] == file_sha256(binary) and facts["command"] == ["make", "-C", "src"]

    again = plan(command(folder), request_)
    assert again.fresh is not None and again.fresh(), "the program itself is no input, though a glob names it"
    make(again)
    assert (folder / "src/runs").read_text() == "building\n"

    (folder / "src/main.c").write_text("int main(void) { return 7; }\n")
    other = plan(command(folder), request_)
    assert other.inputs != first.inputs
    assert subprocess.run([make(other)], check=False).returncode == 7
    assert subprocess.run([binary], check=False).returncode == 0, "the first one stays"


def test_the_command_itself_and_its_variables_are_inputs(folder: Path, request_: Build) -> None:
    kinds = [command(folder), command(folder, "make", "-C", "src", "CC=cc"), command(folder, env=(("A", "b"),))]
    assert len({plan(kind, request_).inputs for kind in kinds}) == 3


def test_its_environment_is_clean_but_for_what_is_declared(folder: Path, request_: Build) -> None:
    make(plan(command(folder, env=(("GREETING", "hello world"),)), request_))
    seen = dict(line.split("=", 1) for line in (folder / "src/seen").read_text().splitlines() if "=" in line)
    assert "SECRET" not in seen and seen["GREETING"] == "hello world"
    assert seen["PATH"] == os.environ["PATH"]


def test_a_failure_quotes_the_last_lines_and_leaves_nothing(folder: Path, request_: Build) -> None:
    (folder / "src/main.c").write_text("int main(void) { return nothing; }\n")
    artifact = plan(command(folder), request_)
    with pytest.raises(InputError) as err:
        make(artifact)
    assert str(err.value).startswith(f"{WHERE}: build: make -C src in {folder} ended with exit status 2:\n")
    assert "'nothing' undeclared" in str(err.value)
    assert artifact.target is not None and not artifact.target.exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": ("lib/*.c",)}, "build.inputs: lib/*.c names no file in"),
        (
            {"output": "src/scx_other", "inputs": ("src/main.c",)},
            "build.output: make -C src ended well, and there is no",
        ),
        ({"output": "src/Makefile", "inputs": ("src/main.c",)}, "build.output: scheduler binary"),
        ({"inputs": ("src/**",)}, "build.inputs: src/runs, src/seen changed while the command ran"),
    ],
)
def test_what_is_declared_wrongly_is_told(folder: Path, request_: Build, changes: dict[str, object], told: str) -> None:
    assert told in refusal(command(folder, **changes), request_)


def test_a_program_that_is_not_there_is_the_environment_s_error(folder: Path, request_: Build) -> None:
    with pytest.raises(HostError, match="no_such_make: found no such program"):
        make(plan(command(folder, "no_such_make"), request_))


def test_a_name_is_sought_in_order_and_how_it_was_found_is_recorded(folder: Path, request_: Build) -> None:
    built = make(plan(command(folder), request_))
    wanted = Discover("scx_mine", folder)
    on_path = folder.parent / "bin"
    places = {
        "path_lookup": on_path / "scx_mine",
        "target_release": folder / "target/release/scx_mine",
        "target_debug": folder / "target/debug/scx_mine",
        "sibling_dir": folder / "scx_mine",
        "env_var": folder.parent / "elsewhere/scx_mine",
    }
    environ = {**request_.environ, "PATH": f"{on_path}:{os.environ['PATH']}"}
    with pytest.raises(InputError, match=r"found no scx_mine at .*/project/scx_mine, .*target/debug/scx_mine"):
        plan(wanted, replace(request_, environ=environ))
    for how, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(built.read_bytes())
        path.chmod(0o755)
        if how == "env_var":
            environ["KTSTR_SCHEDULER"] = "elsewhere/scx_mine"
        found = plan(wanted, replace(request_, environ=environ))
        assert (found.resolve_source, found.binary) == (how, path)
    environ["KTSTR_SCHEDULER"] = "nowhere/scx_mine"
    with pytest.raises(InputError, match=r"KTSTR_SCHEDULER=.*/nowhere/scx_mine: found no such file"):
        plan(wanted, replace(request_, environ=environ))


def test_a_workspace_of_cargo_builds_what_is_nowhere_else(folder: Path, request_: Build) -> None:
    (folder / "Cargo.toml").write_text('[workspace]\nmembers = ["scx_mine"]\nresolver = "2"\n')
    (folder / "scx_mine/src").mkdir(parents=True)
    (folder / "scx_mine/Cargo.toml").write_text('[package]\nname = "scx_mine"\nversion = "0.1.0"\nedition = "2021"\n')
    (folder / "scx_mine/src/main.rs").write_text("fn main() { std::process::exit(5) }\n")
    subprocess.run(["cargo", "generate-lockfile", "--offline"], cwd=folder, check=True)
    wanted = Discover("scx_mine", folder)
    artifact = plan(wanted, replace(request_, offline=True))
    assert artifact.resolve_source == "auto_built"
    assert subprocess.run([make(artifact)], check=False).returncode == 5
    again = plan(wanted, request_)
    assert (again.resolve_source, again.inputs) == ("auto_built", artifact.inputs)
    (folder / "scx_mine/src/main.rs").write_text("fn main() { std::process::exit(6) }\n")
    assert subprocess.run([make(plan(wanted, request_))], check=False).returncode == 6
