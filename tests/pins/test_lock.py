from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import HostError, InputError
from ktstr.host.deb import DebPackage
from ktstr.pins.lock import MAX_BYTES, GitPin, Lock, Pin, RangePin, TarballPin, lock_text, read_lock, write_lock

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas/lock.schema.json").read_text())
PACKAGE = DebPackage("a", "1:2~x", "amd64", "forky", "pool/main/a/a_2_amd64.deb", 10, "0" * 64)
LOCK = Lock(
    {
        "deb:forky/amd64": Pin("2", (PACKAGE,)),
        "6.14": TarballPin("6.14.2", "https://kernel.example/linux-6.14.2.tar.xz", "a" * 64),
        "6.15-rc3": TarballPin("6.15-rc3", "http://kernel.example/linux-6.15-rc3.tar.gz", "b" * 64),
        "git+/r#main": GitPin("c" * 40),
        "6.12..6.14": RangePin(("6.12.34", "6.13.12")),
    },
    {"qemu": Pin("10.0", (PACKAGE,))},
)


def test_a_written_lock_reads_back_and_fits_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "ktstr.lock"
    write_lock(path, LOCK)
    assert read_lock(path) == LOCK
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ktstr.lock"]


def test_a_missing_lock_is_empty(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "none") == Lock()


def test_an_unchanged_lock_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "ktstr.lock"
    write_lock(path, LOCK)
    before = path.stat().st_ino
    write_lock(path, LOCK)
    assert path.stat().st_ino == before


def test_the_digest_is_over_sorted_names_and_hashes_only() -> None:
    other = DebPackage("b", "9", "all", "sid", "pool/b.deb", 1, "1" * 64)
    text = f"a {'0' * 64}\nb {'1' * 64}\n"
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert Pin("x", (other, PACKAGE)).digest == Pin("y", (PACKAGE, other)).digest == expected


def test_own_pins_go_before_those_that_come_with_ktstr() -> None:
    base = Lock({"deb:forky/amd64": Pin("1", (PACKAGE,)), "k": Pin("3", (PACKAGE,))})
    found = LOCK.over(base)
    versions = {name: pin.version for name, pin in found.kernels.items() if name in base.kernels}
    assert versions == {"deb:forky/amd64": "2", "k": "3"}
    assert found.kernels["6.14"] == LOCK.kernels["6.14"]


def test_the_digest_of_a_commit_or_tarball_is_that_of_the_sources_alone() -> None:
    commit = "0123456789" * 4
    assert GitPin(commit).digest == hashlib.sha256(b"git " + commit.encode()).hexdigest()
    pins = [TarballPin("6.14.2", f"https://{host}/x.tar.xz", "d" * 64) for host in ("a.example", "b.example")]
    assert {pin.digest for pin in pins} == {"d" * 64}


def _changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = copy.deepcopy(json.loads(lock_text(LOCK)))
    place: Any = loaded
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return loaded


_FIRST = ("tools", "qemu", "packages", 0)
_TARBALL = ("kernels", "6.14")


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        (_changed(("version",), 2), "version: found 2, expected 1"),
        (_changed(("tools",), []), "tools: found \\[\\], expected an object"),
        (_changed(("tools", "qemu", "packages"), []), "expected a list of packages"),
        (_changed((*_FIRST, "sha256"), "xyz"), r"tools\[qemu\]\.packages\[0\]\.sha256"),
        (_changed((*_FIRST, "path"), "../../etc/passwd.deb"), r"packages\[0\]\.path"),
        (_changed((*_FIRST, "path"), "/abs.deb"), r"packages\[0\]\.path"),
        (_changed((*_FIRST, "name"), "-o=x"), r"packages\[0\]\.name"),
        (_changed((*_FIRST, "suite"), "a b"), r"packages\[0\]\.suite"),
        (_changed((*_FIRST, "size"), True), r"packages\[0\]\.size: found true"),
        (_changed((*_FIRST, "size"), -1), r"packages\[0\]\.size"),
        (_changed((*_FIRST, "extra"), 1), "expected the keys"),
        (_changed((*_TARBALL, "url"), "file:///etc/passwd"), r"kernels\[6\.14\]\.url"),
        (_changed((*_TARBALL, "url"), "https://h/a b"), r"kernels\[6\.14\]\.url"),
        (_changed((*_TARBALL, "version"), "../6"), r"kernels\[6\.14\]\.version"),
        (_changed((*_TARBALL, "sha256"), "A" * 64), r"kernels\[6\.14\]\.sha256"),
        (_changed((*_TARBALL, "commit"), "c" * 40), "expected the keys sha256, url, version"),
        (_changed(("kernels", "git+/r#main", "commit"), "c" * 39), r"\.commit: found"),
        (_changed(("kernels", "6.12..6.14", "versions"), []), r"\.versions: found \[\]"),
        (_changed(("kernels", "6.12..6.14", "versions"), ["6.12", 7]), r"\.versions\[1\]: found 7"),
        (_changed(("kernels", "6.12..6.14", "versions"), ["6.12", "6.12"]), "each release once"),
        (_changed(("tools", "qemu"), {"commit": "c" * 40}), "expected the keys packages, version"),
    ],
)
def test_a_hostile_lock_is_refused_here_and_by_the_schema(tmp_path: Path, loaded: dict[str, Any], words: str) -> None:
    path = tmp_path / "ktstr.lock"
    path.write_text(json.dumps(loaded))
    with pytest.raises(InputError, match=words):
        read_lock(path)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(loaded, SCHEMA)


def test_a_package_named_twice_is_refused(tmp_path: Path) -> None:
    raw = json.loads(lock_text(LOCK))
    raw["tools"]["qemu"]["packages"] *= 2
    (tmp_path / "l").write_text(json.dumps(raw))
    with pytest.raises(InputError, match="each package once"):
        read_lock(tmp_path / "l")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_bytes_that_are_no_lock_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "l").write_bytes(raw)
    with pytest.raises(InputError):
        read_lock(tmp_path / "l")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (lock_text(LOCK).replace('"6.14": {', '"6.14": {"commit": "x"}, "6.14": {'), r"the key '6\.14' twice"),
        ('{"version": ' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        ('{"version": NaN}', "NaN"),
        (" " * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
)
def test_what_a_parser_would_let_pass_is_refused_and_the_file_named(tmp_path: Path, raw: str, words: str) -> None:
    (tmp_path / "ktstr.lock").write_text(raw)
    with pytest.raises(InputError, match=rf"ktstr\.lock: .*{words}") as caught:
        read_lock(tmp_path / "ktstr.lock")
    assert caught.value.fix is not None and "version control" in caught.value.fix


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda c: st.lists(c) | st.dictionaries(st.text(max_size=8), c),
)


@given(kernels=_JSON, tools=_JSON)
def test_any_json_is_a_lock_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, kernels: Any, tools: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_text(json.dumps({"version": 1, "kernels": kernels, "tools": tools}))
    with contextlib.suppress(InputError):
        assert read_lock(path) == Lock()


def test_a_folder_that_cannot_be_written_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"ktstr\.lock: cannot be written"):
        write_lock(tmp_path / "file" / "ktstr.lock", LOCK)


def test_this_repositorys_lock_pins_the_default_kernel_and_both_tools() -> None:
    jsonschema.validate(json.loads((ROOT / "ktstr.lock").read_text()), SCHEMA)
    lock = read_lock(ROOT / "ktstr.lock")
    assert lock_text(lock) == (ROOT / "ktstr.lock").read_text()
    assert "deb:forky/cloud-amd64" in lock.kernels
    assert (lock.tools["qemu"].version[:3], lock.tools["bpf"].version[:3]) == ("10.", "7.5")
