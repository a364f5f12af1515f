"""What sidecars do not say, and why: the text, the JSON, and files that are none."""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET, UnsetType
from msgspec.structs import fields, replace

from ktstr.errors import InputError
from ktstr.record.host import Host
from ktstr.record.sidecar import Sidecar
from ktstr.results.sidecar import dump
from ktstr.stats.explain import Walk, to_json, to_text, walk_run
from ktstr.stats.null_fields import NULL_FIELDS
from tests.results.cells import document, sidecar

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/stats_explain_sidecar.schema.json").read_text())
# Of spec stats 6.6; resolve_source, which no stored source of the reference classifies, is ours.
CLASSES = {
    "scheduler_commit": "expected",
    "resolve_source": "expected",
    "project_commit": "actionable",
    "payload": "expected",
    "monitor": "actionable",
    "kvm_stats": "actionable",
    "kernel_version": "actionable",
    "kernel_commit": "actionable",
    "host": "actionable",
    "cleanup_duration_ms": "actionable",
    "run_source": "actionable",
}
FIXED = {"project_commit", "kernel_commit", "host", "run_source"}


def write(folder: Path, name: str, content: Sidecar | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump(content) if isinstance(content, Sidecar) else content)
    return path


def parsed(folder: Path) -> Any:
    """The JSON of a run, which satisfies the schema, and whose counts add up."""
    found = json.loads(to_json(walk_run(folder)))
    Draft202012Validator(SCHEMA).validate(found)
    walk = found["_walk"]
    assert walk["walked"] == walk["valid"] + len(walk["errors"]) + len(walk["io_errors"])
    for counts in found["fields"].values():
        assert counts["none_count"] + counts["some_count"] == walk["valid"]
    return found


def without(key: str) -> bytes:
    whole = document(sidecar())
    del whole[key]
    return json.dumps(whole).encode()


def test_the_table_has_exactly_the_fields_of_a_sidecar_that_may_be_null_in_their_order() -> None:
    hints = get_type_hints(Sidecar)
    optional = [f.name for f in fields(Sidecar) if {type(None), UnsetType} & set(typing.get_args(hints[f.name]))]
    assert list(NULL_FIELDS) == optional


@pytest.mark.parametrize("name", CLASSES)
def test_each_field_has_the_references_class(name: str) -> None:
    assert NULL_FIELDS[name].classification == CLASSES[name]
    assert NULL_FIELDS[name].causes


def test_of_the_references_fields_four_have_a_fix() -> None:
    assert {name for name in CLASSES if NULL_FIELDS[name].fix is not None} == FIXED


def test_a_run_without_sidecars_is_an_error_that_names_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path, "a/b/deep.ktstr.json", sidecar())
    with pytest.raises(InputError, match="no sidecar data") as caught:
        walk_run(tmp_path)
    assert f"(searched {tmp_path})" in str(caught.value)


def test_the_version_is_1_and_every_field_is_there_sorted_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar())
    found = parsed(tmp_path)
    assert found["_schema_version"] == "1"
    assert list(found["fields"]) == sorted(NULL_FIELDS)
    assert found["_walk"] == {"walked": 1, "valid": 1, "errors": [], "io_errors": []}


def test_nulls_are_counted_per_field_with_their_causes_and_fix(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(host=None))
    write(tmp_path, "icount-s0/b.ktstr.json", sidecar())
    write(tmp_path, "icount-s0/c.ktstr.json", sidecar(payload="fio"))
    found = parsed(tmp_path)["fields"]
    assert [found["host"][k] for k in ("none_count", "some_count", "classification")] == [1, 2, "actionable"]
    assert found["host"]["fix"].startswith("measure again")
    assert (found["payload"]["none_count"], found["payload"]["fix"]) == (2, None)
    assert (found["scheduler_commit"]["none_count"], found["emulator"]["none_count"]) == (3, 0)


def test_an_absent_key_counts_as_null(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(host_dilation=UNSET))
    write(tmp_path, "b.ktstr.json", sidecar(host_dilation=1.5))
    counts = parsed(tmp_path)["fields"]["host_dilation"]
    assert (counts["none_count"], counts["some_count"]) == (1, 1)


def test_a_measured_zero_is_not_null(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(load_ns=0, cleanup_duration_ms=0))
    fields_found = parsed(tmp_path)["fields"]
    assert fields_found["load_ns"]["some_count"] == fields_found["cleanup_duration_ms"]["some_count"] == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no JSON"),
        (b"\x00[[[", "is no JSON"),
        (b"[]", "found a list, expected an object"),
        (b'{"a": NaN}', "no JSON number"),
        (b'{"a": 1, "a": 2}', "found the key 'a' twice"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b"{}", "missing field"),
    ],
)
def test_a_corrupt_file_is_part_of_the_report_and_not_enriched(tmp_path: Path, content: bytes, why: str) -> None:
    path = write(tmp_path, "a.ktstr.json", content)
    found = parsed(tmp_path)
    (error,) = found["_walk"]["errors"]
    assert (found["_walk"]["walked"], found["_walk"]["valid"]) == (1, 0)
    assert error["path"] == str(path)
    assert why in error["error"]
    assert error["enriched_message"] is None
    assert {counts["none_count"] for counts in found["fields"].values()} == {0}


def test_only_a_missing_host_is_enriched(tmp_path: Path) -> None:
    path = write(tmp_path, "a.ktstr.json", without("host"))
    write(tmp_path, "b.ktstr.json", without("payload"))
    host, payload = parsed(tmp_path)["_walk"]["errors"]
    assert "sidecar.host: missing field" in host["error"]
    assert str(path) in host["enriched_message"]
    assert host["error"] in host["enriched_message"]
    assert "disposable" in host["enriched_message"]
    assert payload["enriched_message"] is None


def test_a_file_that_cannot_be_read_is_an_io_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "good.ktstr.json", sidecar())
    path = write(tmp_path, "bad.ktstr.json", b"")
    really = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == path:
            raise PermissionError(13, os.strerror(13), str(self))
        return really(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, whom no mode stops
    found = parsed(tmp_path)["_walk"]
    assert (found["walked"], found["valid"], found["errors"]) == (2, 1, [])
    assert found["io_errors"] == [{"path": str(path), "error": "cannot be read: Permission denied"}]
    assert to_text(walk_run(tmp_path)).endswith(
        f"\nio errors (1):\n  {path}\n    error: cannot be read: Permission denied\n"
    )


def test_a_link_that_leads_to_no_file_is_an_io_error(tmp_path: Path) -> None:
    (tmp_path / "a.ktstr.json").symlink_to("gone")
    found = parsed(tmp_path)["_walk"]
    assert (found["walked"], found["valid"]) == (1, 0)
    assert found["io_errors"] == [{"path": str(tmp_path / "a.ktstr.json"), "error": "a link that leads to no file"}]


def test_good_and_bad_files_are_told_apart_in_one_walk(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar())
    write(tmp_path, "icount-s0/b.ktstr.json", b"{")
    write(tmp_path, "icount-s0/deeper/c.ktstr.json", b"{")
    write(tmp_path, "notes.json", b"{")
    walk = parsed(tmp_path)["_walk"]
    assert (walk["walked"], walk["valid"], len(walk["errors"])) == (2, 1, 1)


def test_the_text_of_a_sidecar_says_what_it_has_and_why_it_lacks_the_rest(tmp_path: Path) -> None:
    full = {name: getattr(sidecar(), name) for name in NULL_FIELDS}
    names = [name for name, value in full.items() if value not in (None, UNSET)]
    write(tmp_path, "a.ktstr.json", sidecar(host=Host(arch="x86_64")))
    lines = to_text(walk_run(tmp_path)).splitlines()
    assert lines[:9] == [
        "walked 1 sidecar file(s), parsed 1 valid",
        "",
        "test: steady",
        "  topology: 1n2l2c1t",
        "  scheduler: scx_ktstr",
        "  run_id: 20250102T030405Z-0",
        "  arch: x86_64",
        "  cpu_budget: 1 / 4 vcpus  [virtual time: the vCPUs take turns, and none waits]",
        "  cgroup cg_0: ran on cpus [0]",
    ]
    assert lines[9] == f"  populated optional fields ({len(names)}): {', '.join(names)}"
    assert lines[10] == f"  none fields ({len(NULL_FIELDS) - len(names)}):"
    at = lines.index("    kernel_commit [actionable]")
    assert lines[at + 1 : at + 5] == [
        "      - the kernel is a package, or was built from a tarball: no commit made it",
        "      - the kernel's source tree is not a git repository",
        "      - the tree's HEAD cannot be read",
        "      fix: test a kernel from a git clone: kernel=PATH, or kernel=git+URL#REF",
    ]
    payload = lines.index("    payload [expected]")
    assert lines[payload + 1] == "      - the test runs no payload"
    assert not lines[payload + 2].startswith("      fix:")


@pytest.mark.parametrize(
    ("budget", "vcpus", "shown"),
    [
        (0, 0, "- (skip; VM not booted)"),
        (0, 4, "- (skip; VM not booted)"),
        (2, 0, "2 / 0 vcpus  [malformed: "),
        (2, 4, "2 / 4 vcpus  [OVERCOMMIT: "),
        (4, 4, "4 / 4 vcpus"),
        (8, 4, "8 / 4 vcpus"),
    ],
)
def test_the_budget_is_shown_with_what_it_means(tmp_path: Path, budget: int, vcpus: int, shown: str) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(cpu_budget=budget, vcpus=vcpus, accel="tcg"))
    (line,) = [line for line in to_text(walk_run(tmp_path)).splitlines() if line.startswith("  cpu_budget: ")]
    assert line.removeprefix("  cpu_budget: ").startswith(shown)
    assert line.endswith("]") or line == f"  cpu_budget: {shown}"


def test_cgroups_without_a_name_and_without_cpus(tmp_path: Path) -> None:
    stats = sidecar().stats
    (group,) = stats.cgroups
    groups = (replace(group, cgroup_name="", cpus_used=(1, 2)), replace(group, cgroup_name="idle", cpus_used=()))
    write(tmp_path, "a.ktstr.json", sidecar(stats=replace(stats, cgroups=groups)))
    text = to_text(walk_run(tmp_path))
    assert "  cgroup (unnamed): ran on cpus [1,2]\n" in text
    assert "idle" not in text


def test_sidecars_are_sorted_by_test_then_run_and_an_unknown_arch_is_a_dash(tmp_path: Path) -> None:
    write(tmp_path, "1.ktstr.json", sidecar(test_name="b", run_id="20250102T030405Z-1"))
    write(tmp_path, "2.ktstr.json", sidecar(test_name="b", run_id="20250102T030405Z-0", host=None))
    write(tmp_path, "3.ktstr.json", sidecar(test_name="a"))
    lines = to_text(walk_run(tmp_path)).splitlines()
    assert [line for line in lines if line.startswith("test: ")] == ["test: a", "test: b", "test: b"]
    assert [line for line in lines if "run_id" in line][1:] == [
        "  run_id: 20250102T030405Z-0",
        "  run_id: 20250102T030405Z-1",
    ]
    assert [line for line in lines if "arch" in line] == ["  arch: x86_64", "  arch: -", "  arch: x86_64"]


def test_all_or_nothing_populated_is_said_so(tmp_path: Path) -> None:
    absent = ("host_dilation", "release", "inputs")
    nothing = replace(sidecar(), **{name: UNSET if name in absent else None for name in NULL_FIELDS})
    write(tmp_path, "a.ktstr.json", nothing)
    assert "  populated optional fields (0): <none>\n" in to_text(walk_run(tmp_path))
    (one,) = walk_run(tmp_path).valid
    assert one.null == frozenset(NULL_FIELDS)
    text = to_text(Walk((dataclasses.replace(one, null=frozenset()),), (), ()))
    assert text.endswith(f", {list(NULL_FIELDS)[-1]}\n  none fields: <all populated>\n")


def test_corrupt_files_come_last_with_their_error_and_what_helps(tmp_path: Path) -> None:
    path = write(tmp_path, "a.ktstr.json", without("host"))
    lines = to_text(walk_run(tmp_path)).splitlines()
    assert lines[0] == "walked 1 sidecar file(s), parsed 0 valid"
    assert lines[1:4] == ["", "corrupt sidecars (1):", f"  {path}"]
    assert lines[4] == "    error: sidecar.host: missing field"
    assert lines[5].startswith(f"    enriched: {path} has no `host`")


def test_names_of_strangers_cannot_move_the_cursor(tmp_path: Path) -> None:
    write(tmp_path, "a.ktstr.json", sidecar(test_name="a\x1b[2J"))
    write(tmp_path, "b\x1b[2J.ktstr.json", b"{")
    assert "\x1b" not in to_text(walk_run(tmp_path))
