"""Runs for tests of reports: sidecars and records of the project's own types, with known numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ktstr.record.host import Host
from ktstr.record.sidecar import PayloadMetric, PayloadMetrics, Reason, Sidecar, StimulusEvent
from ktstr.results.names import CellIdentity
from ktstr.results.store import CellStore
from tests.results.cells import IDENTITY, cell, sidecar
from tests.stats.pools import put

# What a guest, a scheduler's author or a stranger's archive may call anything.
HOSTILE = (
    "</script><script>window.pwned = 1</script>"
    "<img src=x onerror='window.pwned = 1'>\"><svg onload=window.pwned=1>"
    "{{ 7 * 191 }}{% raw %}&lt;\u2028\u202e\x1b[31m\x00"
)
TESTS = ("steady", "bursty", "wakes", "isolated", "stalls")
PRESETS = {"tiny": "1n2l2c1t", "smt": "1n2l2c2t", "numa": "2n2l4c1t", "odd": "1n3l1c1t"}
SEEDS = 10
SIZE = len(TESTS) * len(PRESETS) * SEEDS


def failed(kind: str, message: str, verdict: str = "fail", **changes: Any) -> Sidecar:
    """A sidecar with one reason."""
    reason = Reason(verdict=verdict, kind=kind, message=message, cgroup=None, worker=None, value=None, limit=None)  # type: ignore[arg-type]
    bits = {"passed": False, "inconclusive": verdict == "inconclusive"}
    return replace(sidecar(), reasons=(reason,), **{**bits, **changes})


def identity(test: str, preset: str, seed: int, **changes: Any) -> CellIdentity:
    """A cell of the matrix of ``TESTS`` and ``PRESETS``."""
    return with_changes(IDENTITY, test=test, preset=preset, topology=PRESETS[preset], seed=seed, **changes)


def with_metrics(whole: Sidecar, **metrics: float) -> Sidecar:
    """The sidecar with these ``ext_metrics``."""
    return replace(whole, stats=replace(whole.stats, ext_metrics={**whole.stats.ext_metrics, **metrics}))


def matrix() -> Iterator[tuple[str, Sidecar]]:
    """``SIZE`` sidecars with their places: ``stalls`` is evicted everywhere but on ``tiny``, and inconclusive with an
    even seed on ``odd``; all else passes. ``iteration_rate`` is 1000 + seed."""
    for test in TESTS:
        for preset in PRESETS:
            for seed in range(SEEDS):
                whole = sidecar(identity(test, preset, seed, kernel_label="default"))
                whole = with_metrics(whole, iteration_rate=1000.0 + seed)
                if test == "stalls" and preset != "tiny":
                    even = preset == "odd" and seed % 2 == 0
                    whole = _stalled(whole, "inconclusive" if even else "fail")
                yield f"{whole.accel}-s{seed}/{test}-{preset}", whole


def _stalled(whole: Sidecar, verdict: str) -> Sidecar:
    kind, message = ("Machine", "the host took the CPU") if verdict == "inconclusive" else ("Evicted", "task stall")
    bad = failed(kind, message, verdict)
    return replace(whole, passed=False, inconclusive=bad.inconclusive, reasons=bad.reasons)


def hostile() -> Sidecar:
    """A sidecar in which every text that others write is ``HOSTILE``."""
    whole = failed("Unfair", HOSTILE)
    metric = PayloadMetric(name=HOSTILE, value=1.0, polarity="Unknown", unit=HOSTILE, source="Json", stream="Stdout")
    return replace(
        whole,
        test_name=HOSTILE,
        scheduler=HOSTILE,
        preset=HOSTILE,
        kernel_label=HOSTILE,
        kernel_version=HOSTILE,
        kernel_commit=HOSTILE,
        kernel_preempt=HOSTILE,
        emulator=HOSTILE,
        work_type=HOSTILE,
        payload=HOSTILE,
        metrics=(PayloadMetrics(payload_index=0, exit_code=0, metrics=(metric,)),),
        stimulus_events=(StimulusEvent(1, HOSTILE, HOSTILE, HOSTILE, 0), *whole.stimulus_events),
        host=Host(cpu_model=HOSTILE, kernel_release=HOSTILE, thp_enabled=HOSTILE, accel_reason=HOSTILE),
    )


def fill(root: Path, name: str = "7.2-abc1234") -> Path:
    """The run of ``matrix`` under ``root``, and the record of its first sidecars in the store beside it."""
    for place, whole in matrix():
        put(root, f"{name}/{place}", whole)
    store_record(CellStore(root / ".cells"), cell().input_digest)
    return root / name


def store_record(store: CellStore, digest: str) -> None:
    """Put the record of ``tests.results.cells`` in the store, under that digest."""
    with store.working(digest) as folder:
        store.commit(digest, folder, cell(input_digest=digest))
