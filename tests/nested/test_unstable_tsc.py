"""Clones on a host whose TSC is no clock: KVM has a guest's stand still there while its vCPUs sleep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.lab.environ import passed_on
from ktstr.lab.run import run_in_lab
from ktstr.pins.lock import read_lock
from tests.c.objects import LANGUAGE
from tests.c.vmm_objects import build_snapshots
from tests.e2e.conftest import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

CASES = (
    ("test_vmm_sleeper", "a_clone_that_sleeps_wakes_at_its_deadline"),
    ("test_vmm_busy", "a_busy_machine_can_be_saved_at_any_moment"),
)
UNSTABLE = "Marking TSC unstable due to boot parameter"


def test_clones_keep_their_deadlines(tmp_path: Path) -> None:
    programs = build_snapshots(tmp_path / "objects", tmp_path, *LANGUAGE)
    lines = (f"{programs[program]} {name} && echo passed {name};" for program, name in CASES)
    cache = Cache(cache_root(os.environ))
    result = run_in_lab(
        ["sh", "-c", f'{" ".join(lines)} dmesg | grep -o "{UNSTABLE}"'],
        checkout=ROOT,
        cache=cache,
        apt=Apt(cache.apt),
        lock=read_lock(ROOT / "ktstr.lock"),
        environ=passed_on(os.environ),
        timeout_s=400,
        kernel_args=("tsc=unstable",),
    )
    said = result.output.decode(errors="replace")
    assert UNSTABLE in said, said
    assert [name for _, name in CASES if f"passed {name}\n" not in said] == [], said
