"""Which cells of a run in the lab are run again, with which others, and what of both runs counts."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Cells = dict[str, dict[str, Any]]  # by name without accel and seed
SMALL = ("single", "pair")  # presets with no more vCPUs than the lab has
DIED = "triple fault"
# Two cells that differ in their program only: the second is a clone of the machine that was booted for both.
SHARED = ("pair", "scx_ktstr")


@dataclass(frozen=True)
class Results:
    """What one run gave: its reports, one for each invocation; each cell's sidecar and guest by the cell's name."""

    reports: list[dict[str, Any]]
    sidecars: dict[str, dict[str, Any]]
    guests: dict[str, dict[str, Any]]

    @property
    def cells(self) -> Cells:
        return by_name(self.reports)


def by_name(reports: list[dict[str, Any]]) -> Cells:
    return {_name(cell): cell for report in reports for cell in report["cells"]}


def _name(cell: dict[str, Any]) -> str:
    name: str = cell["name"].rpartition("/")[0]
    return name


def machine_of(name: str) -> tuple[str, str]:
    """Preset and scheduler of a cell: cells of one invocation that have both in common can share a machine."""
    _, preset, _, scheduler = name.split("/")
    return preset, scheduler


def doubtful(run: Results, icount: Cells) -> dict[str, list[str]]:
    """Cells whose guest died by a triple fault, that have not the verdict of counted instructions (Pass without those),
    that are Inconclusive though the lab has CPUs for them all, or whose machine could not be kept to be cloned; with
    what was said of them."""
    found = {}
    for name, cell in run.cells.items():
        expected = icount[name]["verdict"] if name in icount else "pass"
        other = expected in ("pass", "fail") and cell["verdict"] not in (expected, "inconclusive")
        fits = name.split("/")[1] in SMALL and cell["verdict"] == "inconclusive"
        booted = machine_of(name) == SHARED and not _is_clone(run, name)
        if other or fits or booted or any(DIED in why for why in cell["reasons"]):
            found[name] = [*cell["reasons"], *(["it was no clone"] if booted else [])]
    return found


def _is_clone(run: Results, name: str) -> bool:
    return bool(name in run.sidecars and run.sidecars[name]["kvm_run"]["cloned"])


def companies(reports: list[dict[str, Any]], names: Collection[str]) -> dict[str, list[str]]:
    """The named cells and all that shared a machine with them, by the variables that select them: an invocation for
    each."""
    selected = {}
    for report in reports:
        groups: dict[tuple[str, str], list[str]] = {}
        for name in map(_name, report["cells"]):
            groups.setdefault(machine_of(name), []).append(name)
        for (preset, scheduler), group in groups.items():
            if set(group) & set(names):
                tests = ",".join(name.split("/")[0] for name in group)
                selected[f"test={tests} preset={preset} scheduler={scheduler}"] = group
    return selected


def merged(first: Results, second: Results, names: Collection[str]) -> Results:
    """The first run with the named cells of the second in their place."""
    anew = {name: cell for name, cell in second.cells.items() if name in names}
    reports = [
        {**report, "cells": [anew.get(_name(cell), cell) for cell in report["cells"]]} for report in first.reports
    ]
    return Results(
        reports, _replaced(first.sidecars, second.sidecars, names), _replaced(first.guests, second.guests, names)
    )


def _replaced(first: dict[str, Any], second: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    kept = {name: value for name, value in first.items() if name not in names}
    return kept | {name: value for name, value in second.items() if name in names}


def read_results(store: Path, reports: list[dict[str, Any]]) -> Results:
    """The reports, and what the store has of each cell's sidecar and of what its guest said of its topology."""
    sidecars, guests = {}, {}
    for folder in store.iterdir():
        if not (folder / "sidecar.json").is_file():
            continue
        sidecar = json.loads((folder / "sidecar.json").read_text(encoding="utf-8"))
        name = "/".join(sidecar[key] for key in ("test_name", "preset", "kernel_label", "scheduler"))
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))["record"]
        sidecars[name], guests[name] = sidecar, record["guest"]
    return Results(reports, sidecars, guests)
