from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.host.cache import Cache, check_key
from ktstr.kernels.cache import Corrupt, Made, build_key, key_part, lookup_entry, read_entry, write_entry
from ktstr.kernels.image import read_image
from tests.kernels.images import CONFIG, vmlinux

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/kernel_metadata.schema.json").read_text())
IDENTITY = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entry = tmp_path / "kernels" / "image-1"
    entry.mkdir(parents=True)
    write_entry(entry, "image-1", IDENTITY, {"type": "image", "path": "/x"}, read_image(vmlinux(btf=None)), CONFIG)
    return entry


def test_an_entry_reads_back(folder: Path) -> None:
    entry = read_entry(folder)
    assert (entry.key, entry.version, entry.btf, entry.sched_ext, entry.identity) == (
        "image-1", "6.99.1-test", None, True, IDENTITY,
    )  # fmt: skip
    jsonschema.validate(json.loads(entry.metadata.read_text()), SCHEMA)
    assert lookup_entry(Cache(folder.parents[1]), "image-1", IDENTITY) == entry


def test_an_entry_made_from_something_else_is_a_miss(folder: Path) -> None:
    assert lookup_entry(Cache(folder.parents[1]), "image-1", "b" * 64) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "missing"),
        ("", "truncated"),
        ('{"a": ', "truncated"),
        ('{"a" 1}', "malformed"),
        ("[" * 100_000, "malformed"),
        ('{"version": 1, "version": 2}', "malformed"),
        ('{"version": ' + "[" * 900 + "]" * 900 + "}", "malformed"),
        (" " * ((1 << 20) + 1), "malformed"),
        ("[]", "schema_drift"),
        ("{}", "schema_drift"),
    ],
)
def test_each_corruption_has_its_class(folder: Path, text: str | None, kind: str) -> None:
    path = folder / "metadata.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(Corrupt) as caught:
        read_entry(folder)
    assert caught.value.kind == kind


def test_a_missing_or_cut_vmlinux_is_image_missing(folder: Path) -> None:
    (folder / "vmlinux").write_bytes(b"short")
    with pytest.raises(Corrupt, match=r"image_missing: .*vmlinux: 5 bytes, recorded"):
        read_entry(folder)
    (folder / "vmlinux").unlink()
    with pytest.raises(Corrupt, match="image_missing"):
        read_entry(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 1),
        ("version", 3),
        ("sched_ext", 1),
        ("hz", "250"),
        ("hz", True),
        ("steps", 0),
        ("kconfig", []),
        ("toolchain", "gcc"),
        ("release", None),
        ("vmlinux", None),
        ("btf", {"size": 1}),
        ("source", []),
        ("source", {}),
        ("source", {"type": "floppy"}),
        ("identity", "x"),
        ("arch", "m68k"),
        ("release", ""),
        ("built_at", "yesterday"),
        ("kconfig", {}),
        ("kconfig", {"base": "mine", "fragments": [], "digest": "0" * 64}),
        ("kconfig", {"base": "full", "fragments": [1], "digest": "0" * 64}),
        ("toolchain", {"digest": 1}),
        ("config_hash", "x"),
        ("hz", -1),
        ("vmlinux", {"size": -1, "sha256": "0" * 64}),
        ("config", {"size": "1", "sha256": "0" * 64}),
    ],
)
def test_a_field_of_another_shape_is_schema_drift(folder: Path, field: str, value: Any) -> None:
    path = folder / "metadata.json"
    told = json.loads(path.read_text())
    told[field] = value
    path.write_text(json.dumps(told))
    with pytest.raises(Corrupt, match="schema_drift"):
        read_entry(folder)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, SCHEMA)


@given(st.text(min_size=1, max_size=50))
def test_any_version_makes_a_valid_key(text: str) -> None:
    assert check_key(f"deb-{key_part(text)}")


def test_epochs_and_slashes_leave_the_key() -> None:
    assert key_part("1:6.12.95-1~bpo12+1") == "1_6.12.95-1~bpo12+1"
    assert key_part("../x/y") == "__x_y"


def test_what_it_was_built_with_is_in_the_metadata_as_the_schema_says(tmp_path: Path) -> None:
    digests = {"cc": "gcc 12", "ld": "ld 2.40", "pahole": "v1.24", "digest": "c" * 64}
    made = Made("6.14.2", {"base": "minimal", "fragments": ["debug"], "digest": "b" * 64}, digests, 1906)
    source = {"type": "tarball", "version": "6.14.2", "url": "https://host/linux-6.14.2.tar.xz", "sha256": "d" * 64}
    config = "CONFIG_HZ=1000\nCONFIG_PREEMPT=y\nCONFIG_PREEMPT_DYNAMIC=y\n"
    write_entry(tmp_path, "k", IDENTITY, source, read_image(vmlinux()), config, made)
    entry = read_entry(tmp_path)
    jsonschema.validate(dict(entry.facts), SCHEMA)
    assert (entry.hz, entry.preempt, entry.facts["steps"], entry.facts["kernel_version"]) == (
        1000, "dynamic:full", 1906, "6.14.2",
    )  # fmt: skip


def test_built_keys_have_the_shapes_of_the_documentation() -> None:
    kconfig, tools, own = "1234abcd" + "0" * 56, "5678ef01" + "0" * 56, "0badcafe" + "0" * 56
    assert build_key("6.14.2-tarball", "x86_64", kconfig, tools) == "6.14.2-tarball-x86_64-kc1234abcd-tc5678ef01"
    assert build_key("local-a1b2c3d", "x86_64", kconfig, tools, own) == (
        "local-a1b2c3d-x86_64-cfg0badcafe-kc1234abcd-tc5678ef01"
    )


@given(st.text(max_size=300))
def test_any_stem_makes_a_key_that_the_cache_takes(stem: str) -> None:
    assert check_key(build_key(stem, "x86_64", "a" * 64, "b" * 64))
