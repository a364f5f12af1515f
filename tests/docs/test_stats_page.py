"""The page about results and its notebook: their code runs as it stands, and their table is the registry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ktstr.record.metric import Distribution, Gauge, Kind, WorstLowest
from ktstr.record.metrics import METRICS
from tests.results.cells import sidecar
from tests.stats.pools import put

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "stats.md"
NOTEBOOK = ROOT / "docs" / "notebooks" / "pool.ipynb"
BETTER = {"LowerBetter": "lower", "HigherBetter": "higher", "Informational": "", "Unknown": ""}


def metric_rows() -> list[str]:
    """The registry as the page has it."""
    rows = []
    for name, row in METRICS.items():
        gate = f"{row.default_abs:g} {row.display_unit}".strip() + f", {row.default_rel * 100:g} %"
        shown = f"`{name}`" if row.rendered else f"*`{name}`*"
        rows.append(f"| {shown} | {BETTER[row.polarity]} | {kind_words(row.kind)} | {gate} | {row.derivation} |")
    return rows


def kind_words(kind: Kind) -> str:
    """A kind with its parameters, but for a rate's, which its derivation says."""
    match kind:
        case Gauge(fold):
            return f"Gauge ({fold})"
        case Distribution(source, reduction):
            return f"Distribution ({reduction} of {source})"
        case WorstLowest(numerator, denominator):
            return f"WorstLowest ({numerator} / {denominator})"
    return kind if isinstance(kind, str) else "Rate"


def test_the_page_has_the_registry() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| metric | better |", 1)[1]
    assert [line for line in table.splitlines() if line.startswith(("| `", "| *`"))] == metric_rows()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with results of two kernels and schedulers, one of which failed, and a file that is none."""
    for seed in range(6):
        kernel, scheduler = ("7.2.0", "7.3.0")[seed % 2], ("eevdf", "scx_ktstr")[seed // 3]
        whole = sidecar(seed=seed, kernel_version=kernel, scheduler=scheduler, passed=seed != 5)
        put(tmp_path / "target/ktstr", f"{kernel}-abc1234/icount-s{seed}/steady", whole)
    put(tmp_path / "target/ktstr", "7.2.0-abc1234/torn", b"{")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(blocks: list[str], where: Path) -> dict[str, Any]:
    """Execute code one block after the other, as a reader would; the names that it leaves."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{where.name}:{number}", "exec"), names)
    return names


def test_the_code_of_the_page_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = run(blocks, PAGE)
    said = capsys.readouterr().out
    assert len(blocks) == 6 and len(names["passed"]) == 5
    assert "6 results, 1 files that are none" in said and "7.3.0" in said and "torn.ktstr.json" in said
    assert "'total_phase_iterations': 495" in said.replace("495.0", "495")  # 5 runs of 99


def test_the_notebook_runs_and_carries_no_output(project: Path) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and {cell["cell_type"] for cell in notebook["cells"]} == {"code", "markdown"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names = run(["".join(cell["source"]) for cell in code], NOTEBOOK)
    assert len(names["pool"].runs) == 6 and len(names["skipped"]) == 1
    assert list(names["change"].index) == ["7.2.0", "7.3.0"]
    assert [trace.type for trace in names["figure"].data] == ["box", "box"]
