"""EEVDF holds quotas and weights, and the checks of them agree, flat and three levels deep."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import UserProject
from tests.e2e.test_examples import verdicts

pytestmark = pytest.mark.e2e
SLOW = bool(os.environ.get("KTSTR_CHECK_SLOW"))
SEEDS = 10
QUOTAS = "[25%, 50%, 150%]"
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
presets: {{two: 1n1l2c1t}}
tests:
  flat:
    duration: 2s
    cgroups: [{{name: limited, workers: 2, cpu.max: 50%}}]
    checks: {{max_bandwidth_error_pct: 5}}
    matrix: {{"cgroups[0].cpu.max": {QUOTAS}}}
  deep:
    duration: 2s
    cgroups:
      - {{name: a, workers: 0, cpu.max: 50%}}
      - {{name: a/b/c, workers: 2}}
    checks: {{max_bandwidth_error_pct: 5}}
    matrix: {{"cgroups[0].cpu.max": {QUOTAS}}}
  weights:
    duration: 3s
    cgroups:
      - {{name: one, workers: 2, cpu.weight: 100}}
      - {{name: two, workers: 2, cpu.weight: 200}}
      - {{name: four, workers: 2, cpu.weight: 400}}
    checks: {{max_weight_error_pct: 10, max_spread_pct: 100}}
  deep_weights:
    duration: 3s
    cgroups:
      - {{name: x/y/one, workers: 2, cpu.weight: 100}}
      - {{name: x/y/two, workers: 2, cpu.weight: 200}}
      - {{name: x/y/four, workers: 2, cpu.weight: 400}}
    checks: {{max_weight_error_pct: 10, max_spread_pct: 100}}
matrices:
  shares: {{tests: ["*"], presets: two, seeds: 0..{SEEDS - 1}}}
"""


@dataclass(frozen=True)
class Use:
    """What cgroups of a cell used from one reading of their cpu.stat to the next, and how long that was, in us."""

    test: str
    cgroups: tuple[float, ...]
    wall: float


def uses(project: UserProject) -> Iterator[Use]:
    """Those of all cells that ran."""
    for path in (project.path / "target/ktstr/.cells").glob("*/record.json"):
        test = json.loads(path.with_name("sidecar.json").read_text(encoding="utf-8"))["test_name"]
        reads = json.loads(path.read_text(encoding="utf-8"))["record"]["guest"]["reads"]
        used = [int(match[1]) for read in reads if (match := re.match(r"usage_usec (\d+)", read["text"]))]
        times = [read["at_ns"] / 1000 for read in reads if read["text"].startswith("usage_usec")]
        half = len(used) // 2
        spent = tuple(float(end - begin) for begin, end in zip(used[:half], used[half:], strict=True))
        yield Use(test, spent, times[half] - times[0])


def error_pct(use: Use) -> float:
    """Of the quota, or of the share that is furthest from its weight."""
    if "weights" in use.test:
        shares = [
            100 * (spent / sum(use.cgroups) / (weight / 7) - 1)
            for spent, weight in zip(use.cgroups, (1, 2, 4), strict=True)
        ]
        return max(shares, key=abs)
    quota = int(use.test.partition(".")[2].rstrip("-")) / 100
    return 100 * (use.cgroups[0] / use.wall / quota - 1)


def test_eevdf_holds_quotas_and_weights(project: UserProject) -> None:
    project.write(YAML)
    code, report = project.test(*([] if SLOW else ["seeds=7"]), timeout="1800")
    assert not verdicts(report["cells"])
    assert code == 0
    found = list(uses(project))
    assert len(report["cells"]) == len(found) == 8 * (SEEDS if SLOW else 1)
    off = {use.test: error_pct(use) for use in found if abs(error_pct(use)) > (10 if "weights" in use.test else 5)}
    assert not off, sorted((use.test, round(error_pct(use), 1)) for use in found)
