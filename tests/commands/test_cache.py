"""What ``doit cache`` prints of a cache, in text and in JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ktstr import resources
from ktstr.commands.cache import look, to_json, to_text
from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.vm.snapshot import Parked, Unparked
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import PAGE, PIECE, ended, parked

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with a kernel, a tool that was never finished, and machines of every kind, one of them damaged."""
    root = tmp_path / "cache"
    (root / "kernels/one").mkdir(parents=True)
    (root / "kernels/one/vmlinux").write_bytes(os.urandom(3 * MIB))
    (root / "tools/.tmp-a-1").mkdir(parents=True)
    (root / "kvm-probe.json").write_text("{}")
    store = SnapshotStore(Cache(root))
    machines: dict[str, Parked | Unparked] = {
        "ka": parked(),
        "kb": ended("panic"),
        "kc": Unparked(None, "the kernel has no X86_IOPL_IOPERM", b"", b""),
        "kd": ended("clean"),
    }
    for number, (key, machine) in enumerate(machines.items()):
        with store.holding(key, lambda machine=machine: machine, f"7.2/tiny/{key}/icount"):  # type: ignore[misc]
            pass
        os.utime(root / "machines" / key, (number, number))
    store.close()
    (root / "machines/kd/metadata.json").write_text("{")
    os.utime(root / "machines/kd", (3, 3))
    return root


def parsed(root: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(to_json(look(root, 8 << 30)))
    jsonschema.validate(whole, json.loads(resources.schema("cache").read_text()))
    return whole


def test_json_has_every_class_with_its_entries_and_size(root: Path) -> None:
    whole = parsed(root)
    assert {one["name"]: one["entries"] for one in whole["classes"]} == {"kernels": 1, "machines": 4, "tools": 0}
    sizes = {one["name"]: one["disk_bytes"] for one in whole["classes"]}
    assert 3 * MIB <= sizes["kernels"] < 3 * MIB + 16 * PAGE
    assert sizes["machines"] == disk_bytes(root / "machines")
    assert whole["total_bytes"] == sum(sizes.values())
    assert whole["machines_limit_bytes"] == 8 << 30


def test_json_has_every_machine_the_last_used_first(root: Path) -> None:
    damaged, cold, guest_ended, attached = parsed(root)["machines"]
    assert (damaged["key"], damaged["name"], damaged["kind"]) == ("kd", None, None)
    assert "metadata.json" in damaged["error"]
    assert (cold["kind"], cold["ram_bytes"], cold["ram_digest"]) == ("cold", None, None)
    assert (guest_ended["kind"], guest_ended["name"]) == ("ended", "7.2/tiny/kb/icount")
    assert (attached["kind"], attached["last_used"], attached["error"]) == ("attached", "1970-01-01T00:00:00Z", None)
    assert (attached["ram_bytes"], attached["ram_data_bytes"]) == (2 * PIECE, 303 * PAGE)
    assert attached["disk_bytes"] == disk_bytes(root / "machines/ka") > 303 * PAGE


def test_text_says_the_same_within_80_columns(root: Path) -> None:
    text = to_text(look(root, 8 << 30))
    assert "  kernels          1 entry          3 MiB\n" in text
    assert "  machines         4 entries        1 MiB\n" in text
    assert (
        "  7.2/tiny/ka/icount\n    attached, 1 MiB of 8 MiB RAM in 1 MiB of disk, used 1970-01-01T00:00:00Z\n" in text
    )
    assert "cold: the kernel has no X86_IOPL_IOPERM; used 1970-01-01T00:00:02Z" in text
    assert "ended: its guest ended before it was parked (panic)" in text
    assert "  kd\n    damaged: metadata.json" in text
    assert "1 MiB of at most 8192 MiB" in text
    assert max(len(line) for line in text.splitlines() if str(root) not in line) <= 80


def test_an_empty_cache_is_no_error_and_stays_away(tmp_path: Path) -> None:
    root = tmp_path / "none"
    assert parsed(root)["classes"] == parsed(root)["machines"] == []
    assert to_text(look(root, 8 << 30)).startswith(f"{root}:\n  empty\n")
    assert not root.exists()
