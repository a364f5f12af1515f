from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.schedulers.surroundings import Surroundings
from ktstr.vm.guest_image import base_part, concatenate, config_part, library_places, run_part, scheduler_part
from tests.vm.test_cpio import unpack

LOADER = "lib64/ld-linux-x86-64.so.2"
MAIN = "int main(void) { return 0; }\n"


def compile_c(folder: Path, name: str, source: str, *flags: str) -> Path:
    out = folder / name
    command = ["gcc", "-x", "c", "-", "-o", str(out), *flags]
    subprocess.run(command, input=source.encode(), check=True, cwd=folder)
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program, a dynamic one, and one that needs libouter, which needs libinner."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "lib").mkdir()
    compile_c(folder, "static", MAIN, "-static")
    compile_c(folder, "dynamic", MAIN)
    compile_c(folder, "lib/libinner.so", "int inner(void) { return 1; }\n", "-shared", "-fPIC")
    compile_c(folder, "lib/libouter.so", "int inner(void); int outer(void) { return inner(); }\n", "-shared", "-fPIC",
              "-Llib", "-linner")  # fmt: skip
    compile_c(folder, "needy", "int outer(void); int main(void) { return outer(); }\n", "-Llib", "-louter",
              "-Wl,-rpath-link,lib")  # fmt: skip
    compile_c(folder, "found", "int inner(void); int main(void) { return inner(); }\n", "-Llib", "-linner",
              "-Wl,-rpath,$ORIGIN/lib")  # fmt: skip
    return folder


def test_the_base_holds_the_agent_and_what_it_mounts_on(built: Path) -> None:
    found = unpack(base_part(built / "static"))
    assert found["init"][0] == stat.S_IFREG | 0o755
    assert found["init"][3] == (built / "static").read_bytes()
    assert {path for path, entry in found.items() if stat.S_ISDIR(entry[0])} == {
        "dev", "ktstr", "proc", "run", "sched", "sched/bin", "sched/lib", "sys", "tmp",
    }  # fmt: skip
    assert found["dev/console"][0] == stat.S_IFCHR | 0o600
    assert found["dev/console"][4] == (5, 1)


def test_a_dynamic_agent_is_refused(built: Path) -> None:
    with pytest.raises(InputError, match="is dynamically linked, expected a static program"):
        base_part(built / "dynamic")


def test_a_static_scheduler_brings_nothing_along(built: Path) -> None:
    files = {path for path, entry in unpack(scheduler_part(built / "static")).items() if stat.S_ISREG(entry[0])}
    assert files == {"sched/bin/static", "sched/environment"}


def test_a_dynamic_scheduler_brings_its_loader_and_libc(built: Path) -> None:
    found = unpack(scheduler_part(built / "dynamic"))
    files = {path for path, entry in found.items() if stat.S_ISREG(entry[0])}
    assert files == {"sched/bin/dynamic", "sched/lib/libc.so.6", "sched/environment", LOADER}
    assert all(found[path][0] & 0o111 for path in files - {"sched/environment"})
    assert found[LOADER][3] == Path(f"/{LOADER}").read_bytes()


def test_a_scheduler_finds_its_environment_and_its_files(built: Path, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/layers.json").write_text("[]")
    (tmp_path / "helper").write_bytes(b"#!")
    (tmp_path / "helper").chmod(0o700)
    files = {"conf/layers.json": tmp_path / "conf/layers.json", "helper": tmp_path / "helper"}
    around = Surroundings({"NO_COLOR": "1", "A": "b c"}, files, 4, "")
    found = unpack(scheduler_part(built / "static", (), around))
    assert found["sched/environment"][3] == b"A=b c\nNO_COLOR=1\n"
    assert (found["sched/files/conf/layers.json"][0], found["sched/files/conf/layers.json"][3]) == (
        stat.S_IFREG | 0o644, b"[]",
    )  # fmt: skip
    assert found["sched/files/helper"][0] == stat.S_IFREG | 0o755


def test_the_kernels_configuration_is_where_libbpf_looks(tmp_path: Path) -> None:
    found = unpack(config_part("7.2.1-cloud", b"CONFIG_HZ=250\n"))
    assert found["boot/config-7.2.1-cloud"][3] == b"CONFIG_HZ=250\n"
    assert set(unpack(config_part("7.2.1-cloud", None))) == {"boot"}


def test_what_is_packed_runs_in_a_root_of_its_own(built: Path, tmp_path: Path) -> None:
    for path, entry in unpack(scheduler_part(built / "needy", [built / "lib"])).items():
        if stat.S_ISDIR(entry[0]):
            (tmp_path / path).mkdir()
        else:
            (tmp_path / path).write_bytes(entry[3])
            (tmp_path / path).chmod(entry[0] & 0o777)
    libraries = tmp_path / "sched/lib"
    command = [str(tmp_path / LOADER), "--inhibit-cache", "--library-path", str(libraries), "sched/bin/needy"]
    done = subprocess.run(
        [*command[:1], "--list", *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    used = {line.split("=>")[1].split()[0] for line in done.stdout.splitlines() if "=>" in line}
    assert used - {command[0]} == {str(libraries / name) for name in ("libouter.so", "libinner.so", "libc.so.6")}
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1


def test_libraries_are_found_through_the_binarys_own_path(built: Path) -> None:
    assert library_places(built / "found")["sched/lib/libinner.so"] == built / "lib/libinner.so"


def test_a_missing_library_is_named_with_what_needs_it(built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        library_places(built / "needy")
    assert "needy needs the library libouter.so, which was not found" in raised.value.message
    (tmp_path / "libouter.so").write_bytes((built / "lib/libouter.so").read_bytes())
    with pytest.raises(InputError, match=r"libouter\.so needs the library libinner\.so"):
        library_places(built / "needy", [tmp_path])


def test_a_loader_that_is_not_here_is_named(built: Path) -> None:
    odd = compile_c(built, "odd", MAIN, "-Wl,--dynamic-linker=/opt/none/ld-none.so.1")
    with pytest.raises(InputError, match=r"its loader /opt/none/ld-none\.so\.1 was not found"):
        library_places(odd)


def test_a_loader_path_that_climbs_is_refused(built: Path) -> None:
    odd = compile_c(built, "climbs", MAIN, "-Wl,--dynamic-linker=/lib64/../../etc/ld.so")
    with pytest.raises(InputError, match="expected an absolute path"):
        library_places(odd)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!/bin/sh\nexit 0\n", r"is a script \(the guest has no shell\)"),
        (b"hello, I am text", "is no x86-64 program: first bytes are"),
        (b"", "is no x86-64 program: the file is empty"),
        (
            b"\x7fELF\x02\x01" + bytes(12) + (183).to_bytes(2, "little") + bytes(60),
            "is no x86-64 program: ELF machine number 183",
        ),
        (b"\x7fELF\x01\x01" + bytes(70), "is no x86-64 program: a 32-bit ELF file"),
    ],
)
def test_what_is_no_program_for_the_guest_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "scx_other"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"scheduler binary .*scx_other: {message}"):
        scheduler_part(path)


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scx_gone: No such file or directory"):
        scheduler_part(tmp_path / "scx_gone")


def test_the_run_part_holds_what_one_machine_is_to_do() -> None:
    def files(setup: bytes, program: bytes) -> dict[str, bytes]:
        return {path: data for path, (_, _, _, data, _) in unpack(run_part(setup, program)).items() if path != "ktstr"}

    assert files(b"\x03", b"\x01\x02") == {"ktstr/setup": b"\x03", "ktstr/program": b"\x01\x02"}
    assert files(b"", b"\x01") == {"ktstr/program": b"\x01"}
    assert files(b"\x03", b"") == {"ktstr/setup": b"\x03"}


def test_the_same_inputs_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "needy"
    copy.write_bytes((built / "needy").read_bytes())
    os.utime(copy, (1, 1))
    assert scheduler_part(copy, [built / "lib"]) == scheduler_part(built / "needy", [built / "lib"])


def test_parts_in_one_file_begin_at_four_bytes(tmp_path: Path) -> None:
    for name, data in (("a", b"12345"), ("b", b"6")):
        (tmp_path / name).write_bytes(data)
    concatenate([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"12345\0\0\x006\0\0\0"
