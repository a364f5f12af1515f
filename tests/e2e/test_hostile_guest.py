"""``doit test`` with an agent that breaks the rules. Costs 5 boots of one vCPU, one with 128 MiB of noise: 30 s.

What the machine makes of each is in tests/vm/test_qemu.py; here it is what the user sees.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.small import MARK, half_written, private_cache, processes, tiny_yaml

pytestmark = pytest.mark.e2e


def _checkout(folder: Path, mode: str) -> Path:
    """A copy of ktstr whose agent does what ``mode`` says, whatever its program is."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("ktstr", "schemas", "vmm_c/include", "vmm_c/qemu"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    source = (ROOT / "tests/vm/hostile_guest.c").read_text(encoding="utf-8")
    for old, new in (
        ('open("/ktstr/program", O_RDONLY)', "0"),
        ("read(program, mode, sizeof(mode) - 1)", f'(ssize_t)strlen(strcpy(mode, "{mode}"))'),
    ):
        assert source.count(old) == 1
        source = source.replace(old, new)
    (folder / "vmm_c/guest").mkdir()
    (folder / "vmm_c/guest/main.c").write_text(source, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("mode", "arguments", "code", "verdict", "words"),
    [
        ("garbage", [], 3, "error", "the guest sent bytes that are no frames: "),
        ("silent", [], 3, "error", "the guest agent never spoke"),
        ("flood", ["accel=tcg"], 3, "error", "the guest sent more than a run may send"),
        ("hang", ["timeout=8s"], 3, "error", "the machine did not finish within its limit of host time"),
        ("die", [], 1, "fail", "the kernel panicked before the agent said a word: "),
    ],
)
def test_a_guest_that_breaks_the_rules_ends_its_cell_with_the_reason(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory,
    mode: str, arguments: list[str], code: int, verdict: str, words: str,
) -> None:  # fmt: skip
    project.write(tiny_yaml(1))
    folder, mark = tmp_path_factory.mktemp(mode), uuid4().hex
    extra = {
        "PYTHONPATH": str(_checkout(folder / "checkout", mode)),
        "KTSTR_CACHE_DIR": str(private_cache(folder / "cache", "tools", "kernels")),
        MARK: mark,
    }
    done, report = project.test(*arguments, **extra)
    (cell,) = report["cells"]
    assert (done, cell["verdict"], cell["ran"]) == (code, verdict, True)
    assert words in cell["reasons"][0]
    assert all((project.path / path).is_file() for path in cell["files"])
    assert any(path.endswith("console.log") for path in cell["files"])
    stored = list((project.path / "target/ktstr/.cells").glob("*/record.json"))
    assert len(stored) == (verdict == "fail"), "an error is no result"
    assert half_written(project) == []
    assert not processes(mark)
