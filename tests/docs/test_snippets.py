"""The README and the guide tell the truth: every YAML block loads, every variable and task they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import variables_of
from ktstr.config import fields
from ktstr.config.bugdecl import read_bug
from ktstr.config.load import load
from tests.project_checks import CHECK

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
# What a snippet may name and a reader already has.
AROUND = {
    "kernels": 'kernels: {default: "deb:forky/cloud-amd64"}\n',
    "schedulers": "schedulers:\n  scx_ktstr: {path: scx_ktstr}\n",
    "payloads": "payloads:\n  bench: {path: bench, output: json}\n",
    "tests": "tests:\n  any: {cgroups: [{name: a}]}\n",
}


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if page.name == "ci.md":  # whose blocks are workflows: test_ci_page.py
            continue
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            found.append((page.name, block))
    return found


@pytest.mark.parametrize(("page", "block"), blocks())
def test_every_yaml_block_loads(page: str, block: str, tmp_path: Path) -> None:
    around = "".join(text for section, text in AROUND.items() if not re.search(rf"^{section}:", block, re.MULTILINE))
    path = tmp_path / "ktstr.yaml"
    if block.startswith("about:"):
        path.write_text(block, encoding="utf-8")
        assert read_bug(path).config.tests
        return
    path.write_text(around + block, encoding="utf-8")
    assert load(path).tests


def test_there_are_blocks_to_check() -> None:
    assert len(blocks()) >= 3


def test_the_page_about_schedulers_has_an_example_of_every_kind_and_lists_every_expected_end() -> None:
    examples = [yaml.safe_load(block) for page, block in blocks() if page == "schedulers.md"]
    keys = {key for sections in examples for one in sections.get("schedulers", {}).values() for key in one}
    assert set(fields.SCHEDULER_KINDS) <= keys
    text = (ROOT / "docs" / "schedulers.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert listed == {*fields.SCHEDULER_KINDS, *fields.EXPECT["end"].choices}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_names_a_task_and_variables_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^    (?:\./)?doit (.*?)(?:\s{2,}#.*|\s+#.*|\s+\|.*)?$", text, re.MULTILINE)
    assert commands
    tasks = {*builtin_commands(), CHECK.name, "list", "help", "clean"}
    every = (*builtin_commands().values(), CHECK)
    variables = {name for command in every for name in variables_of(command.options)}
    for command in commands:
        for word in command.replace("'", "").split():
            name, equals, _ = word.partition("=")
            assert name in (variables if equals else tasks), f"{page.name}: doit {command}"
