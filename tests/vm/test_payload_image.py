"""Payloads and include files as parts of an initramfs."""

from __future__ import annotations

import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.config.model import PayloadDecl, TestDecl
from ktstr.errors import Changed, HostError, InputError
from ktstr.vm.payload_image import (
    check_places,
    include_part,
    packed,
    payload_part,
    program_place,
    start_folder,
    variables,
    verify,
)
from tests.vm.test_cpio import unpack
from tests.vm.test_guest_image import compile_c

LOADER = "lib64/ld-linux-x86-64.so.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with a program that is dynamically linked."""
    shutil.copy("/bin/true", tmp_path / "bench")
    (tmp_path / "data/more").mkdir(parents=True)
    (tmp_path / "data/more/x.json").write_text("{}")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def payload(folder: Path, **changes: Any) -> PayloadDecl:
    plain = PayloadDecl("bench", folder / "bench", base=folder, where="ktstr.yaml:4:3")
    return replace(plain, **changes)


def including(folder: Path, *files: str) -> TestDecl:
    return TestDecl("t", (), include_files=files, base=folder, where="ktstr.yaml:9:3")


def test_a_program_its_libraries_and_files_have_a_folder_of_their_own(folder: Path) -> None:
    declared = payload(folder, files=("data", "run.sh"))
    found = unpack(packed(payload_part(declared)))
    home = "payload/bench"
    assert {f"{home}/bin/bench", f"{home}/lib/libc.so.6", LOADER, f"{home}/files/data/more/x.json"} <= set(found)
    assert found[f"{home}/bin/bench"][3] == (folder / "bench").read_bytes()
    modes = {name: stat.S_IMODE(found[f"{home}/files/{name}"][0]) for name in ("data/more/x.json", "run.sh")}
    assert modes == {"data/more/x.json": 0o644, "run.sh": 0o755}
    assert (program_place(declared), start_folder(declared)) == ("/payload/bench/bin/bench", "/payload/bench/files")


def test_an_installed_program_is_found_in_path(folder: Path) -> None:
    installed = payload(folder, path=Path("bench"))
    places = payload_part(installed, search=f"/nowhere:{folder}").places
    assert places["/payload/bench/bin/bench"] == folder / "bench"


def test_one_that_is_not_installed_is_told_with_what_installs_it(folder: Path) -> None:
    missing = payload(folder, path=Path("no-such-bench"), install="apt-get install bench")
    with pytest.raises(HostError) as err:
        payload_part(missing, search=str(folder))
    assert str(err.value) == (
        "ktstr.yaml:4:3 payloads.bench.program: found no no-such-bench in PATH, expected it installed\n"
        "  fix: apt-get install bench"
    )


def test_it_starts_in_a_folder_though_it_has_no_files(folder: Path) -> None:
    assert "payload/bench/files" in unpack(packed(payload_part(payload(folder))))


def test_what_glibc_opens_when_a_thread_ends_goes_with_a_program(folder: Path) -> None:
    places = payload_part(payload(folder)).places
    assert places["/payload/bench/lib/libgcc_s.so.1"].parent == places["/payload/bench/lib/libc.so.6"].parent


def test_a_static_program_needs_no_libraries(folder: Path) -> None:
    compile_c(folder, "bench", "int main(void) { return 0; }\n", "-static")
    assert set(payload_part(payload(folder)).places) == {"/payload/bench/bin/bench"}


def test_its_environment_finds_its_libraries_and_what_is_declared_wins(folder: Path) -> None:
    declared = payload(folder, env=(("MODE", "a=b"), ("PATH", "/mine")))
    assert variables(declared) == ("PATH=/mine", "LD_LIBRARY_PATH=/payload/bench/lib", "MODE=a=b")


def test_digest_follows_program_files_names_and_modes(folder: Path) -> None:
    declared = payload(folder, files=("data",))
    digests = [payload_part(one).digest for one in (declared, payload(folder), replace(declared, name="other"))]
    (folder / "data/more/x.json").write_text("[]")
    digests.append(payload_part(declared).digest)
    (folder / "data/more/x.json").chmod(0o755)
    digests.append(payload_part(declared).digest)
    shutil.copy("/bin/false", folder / "bench")
    digests.append(payload_part(declared).digest)
    assert len(set(digests)) == len(digests)
    assert payload_part(declared).digest == digests[-1]


def test_size_is_of_all_that_goes_in(folder: Path) -> None:
    part = payload_part(payload(folder, files=("data",)))
    assert part.size == sum(path.stat().st_size for path in part.places.values()) > (folder / "bench").stat().st_size


def test_what_was_edited_meanwhile_is_not_packed_under_the_old_name(folder: Path) -> None:
    declared = payload(folder, files=("data",))
    planned = payload_part(declared)
    verify(payload_part(declared), planned)
    (folder / "data/more/x.json").write_text("[]")
    with pytest.raises(Changed, match=r"ktstr.yaml:4:3 payloads.bench: one of its files"):
        verify(payload_part(declared), planned)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": Path("gone")}, r"ktstr.yaml:4:3 payloads.bench.path: payload program .*gone: found no such file"),
        ({"path": Path("data")}, r"payloads.bench.path: payload program .*data: found something that is no file"),
        ({"files": ("gone",)}, r"ktstr.yaml:4:3 payloads.bench.files: .*gone: found no such file"),
        ({"files": ("../x",)}, r"payloads.bench.files: .*"),
    ],
)
def test_what_is_missing_is_named_with_its_place(folder: Path, changes: dict[str, Any], message: str) -> None:
    if "path" in changes:
        changes = {"path": folder / changes["path"]}
    with pytest.raises(InputError, match=message):
        payload_part(payload(folder, **changes))


def test_a_script_is_refused_with_what_to_do_instead(folder: Path) -> None:
    with pytest.raises(InputError, match=r"run.sh: found a script \(the guest has no shell\)") as caught:
        payload_part(payload(folder, path=folder / "run.sh"))
    assert "name its interpreter as the program" in (caught.value.fix or "")


def test_a_program_for_another_machine_is_refused(folder: Path) -> None:
    data = bytearray((folder / "bench").read_bytes())
    data[18:20] = (183).to_bytes(2, "little")  # EM_AARCH64
    (folder / "bench").write_bytes(data)
    with pytest.raises(InputError, match=r"payloads.bench.path: .*bench: found a program for another machine"):
        payload_part(payload(folder))


def test_a_library_that_is_missing_is_named(folder: Path) -> None:
    compile_c(folder, "libgone.so", "int gone(void) { return 1; }\n", "-shared", "-fPIC")
    compile_c(folder, "bench", "int gone(void); int main(void) { return gone(); }\n", "-L.", "-lgone")
    with pytest.raises(InputError, match=r"bench needs the library libgone.so"):
        payload_part(payload(folder, base=folder / "data"))
    assert "/payload/bench/lib/libgone.so" in payload_part(payload(folder), (folder,)).places


def test_include_files_keep_their_paths(folder: Path) -> None:
    part = include_part(including(folder, "data", "run.sh"))
    assert set(part.places) == {"/include-files/data/more/x.json", "/include-files/run.sh"}
    assert unpack(packed(part))["include-files/data/more/x.json"][3] == b"{}"


def test_an_include_file_that_is_missing_is_named_with_its_place(folder: Path) -> None:
    with pytest.raises(InputError, match=r"ktstr.yaml:9:3 tests.t.include_files: .*gone: found no such file"):
        include_part(including(folder, "gone"))


def test_two_files_for_one_place_are_refused_with_both(folder: Path) -> None:
    part = include_part(including(folder, "run.sh"))
    (folder / "other").write_text("#!/bin/bash\n")
    other = replace(part, places={"/include-files/run.sh": folder / "other"}, where="ktstr.yaml:20:3 tests.t")
    with pytest.raises(InputError, match=r"ktstr.yaml:20:3 .*other is to be .*run.sh .* of ktstr.yaml:9:3"):
        check_places([part, other])
    (folder / "other").write_text("#!/bin/sh\n")
    check_places([part, other])  # the same content


def test_payloads_that_share_a_loader_share_it(folder: Path) -> None:
    check_places([payload_part(payload(folder)), payload_part(payload(folder, name="second"))])
