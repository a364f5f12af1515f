"""The page about CI: its workflow is one, and what it runs are tasks and variables that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import environment_name, variables_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
(WORKFLOW,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW)["jobs"]
    return found


def steps(job: dict[str, Any], uses: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if str(step.get("uses", "")).startswith(uses)]


def test_every_command_of_the_page_names_a_task_and_its_variables() -> None:
    tasks = builtin_commands()
    commands = re.findall(r"\bdoit ((?:test|merge|kernel)\b[^`\n]*)", PAGE)
    assert len(commands) >= 6
    for command in commands:
        names = [word for word in command.split("#")[0].split() if word in tasks]
        known = {name for task in names for name in variables_of(tasks[task].options)}
        given = re.findall(r"\b(\w+)=", re.sub(r"\|\|.*", "", command.split("#")[0]))
        assert names and set(given) <= known, command


def test_the_variables_of_its_environment_are_there(jobs: dict[str, Any]) -> None:
    known = {
        environment_name(name) for command in builtin_commands().values() for name in variables_of(command.options)
    }
    assert set(yaml.safe_load(WORKFLOW)["env"]) <= {*known, "KTSTR_CI"}


def test_as_many_shards_are_run_as_are_merged(jobs: dict[str, Any]) -> None:
    shards = jobs["test"]["strategy"]["matrix"]["shard"]
    runs = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert f"doit test shard=${{{{ matrix.shard }}}}/{len(shards)}" in runs
    folders = re.findall(r"doit merge dir=(\S+)", runs)[0].split(",")
    assert folders == [f"parts/part-{shard}" for shard in shards]


def test_a_part_is_uploaded_whatever_its_cells_gave_and_with_what_is_hidden(jobs: dict[str, Any]) -> None:
    (upload,) = steps(jobs["test"], "actions/upload-artifact")
    assert upload["if"] == "always()" == jobs["merge"]["if"]
    assert upload["with"]["include-hidden-files"] is True
    assert upload["with"]["path"].splitlines()[0] == "target/ktstr"
    assert upload["with"]["name"] == "part-${{ matrix.shard }}"
    assert steps(jobs["merge"], "actions/download-artifact")[0]["with"] == {"pattern": "part-*", "path": "parts"}


def test_it_installs_what_ktstr_needs_of_the_distribution(jobs: dict[str, Any]) -> None:
    lines = (ROOT / "bootstrap/packages.txt").read_text(encoding="utf-8").splitlines()
    needed = {line.split()[0] for line in lines if line and not line.startswith("#")}
    installs = next(step["run"] for step in jobs["test"]["steps"] if "apt-get install" in step.get("run", ""))
    assert needed - {"python3", "ca-certificates"} <= set(installs.split())  # which hosted runners have
