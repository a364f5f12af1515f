from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.errors import HostError, InputError
from ktstr.lab.initramfs import MAX_REQUEST, Request, build_init, encode_request, initramfs
from ktstr.lab.kernel import LabKernel
from ktstr.resources import c_dir
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool
from tests.vm.test_cpio import unpack

REQUEST = Request(("sh", "-c", "exit 3"), Path("/a b"), {"PATH": "/bin"}, Path("/out"))
TEXT = b"c/a b\0m/modules/x.ko\0s/out\0ePATH=/bin\0ash\0a-c\0aexit 3\0"
FLAGS_SANITIZED = (
    "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
# The request as the init reads it; an error is told on stdout, where the lab's would tell the host and power off.
READER = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "request.h"
#include "say.h"
_Noreturn void say_error(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	printf("error ");
	vprintf(format, args);
	va_end(args);
	exit(0);
}
int main(int argc, char **argv)
{
	struct request request;
	(void)argc;
	request_read(argv[1], &request);
	printf("c<%s>s<%s>", request.cwd, request.shared ? request.shared : "none");
	char **lists[] = { request.modules, request.environ, request.argv };
	for (int i = 0; i < 3; i++) {
		for (char **at = lists[i]; *at; at++)
			printf("%c<%s>", "mea"[i], *at);
		free(lists[i]);
	}
	free(request.text);
	return 0;
}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The init's own parser, sanitized, in a program that prints what it read."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "reader.c").write_text(READER)
    lab, out = c_dir() / "lab", folder / "reader"
    sources = [str(folder / "reader.c"), str(lab / "request.c")]
    subprocess.run(["gcc", *FLAGS_SANITIZED, f"-I{lab}", *sources, "-o", str(out)], check=True)
    return out


def read(reader: Path, tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "request"
    path.write_bytes(data)
    done = subprocess.run([reader, path], capture_output=True, text=True, check=True)
    return done.stdout.replace(str(path), "PATH")


def test_a_request_is_strings_with_a_letter_before_each() -> None:
    assert encode_request(REQUEST, ["modules/x.ko"]) == TEXT


def test_the_init_reads_what_is_encoded(reader: Path, tmp_path: Path) -> None:
    assert read(reader, tmp_path, TEXT) == "c</a b>s</out>m</modules/x.ko>e<PATH=/bin>a<sh>a<-c>a<exit 3>"


def test_a_request_without_a_shared_folder_has_none(reader: Path, tmp_path: Path) -> None:
    request = Request(("true",), Path("/"), {})
    assert read(reader, tmp_path, encode_request(request, [])) == "c</>s<none>a<true>"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "error PATH: found 0 bytes, expected 1 to 4194304"),
        (b"c/\0atrue", "error PATH: its last string does not end"),
        (b"c/\0", "error PATH: has no folder or no command"),
        (b"atrue\0", "error PATH: has no folder or no command"),
        (b"\0" * 9, "error PATH: has no folder or no command"),
    ],
)
def test_the_init_refuses_a_damaged_request(reader: Path, tmp_path: Path, data: bytes, said: str) -> None:
    assert read(reader, tmp_path, data) == said


@pytest.mark.parametrize("argv", [(), ("",)])
def test_no_command_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="lab: found no command"):
        encode_request(Request(argv, Path("/"), {}), [])


def test_a_nul_cannot_smuggle_another_string_in() -> None:
    with pytest.raises(InputError, match="found a NUL"):
        encode_request(Request(("true",), Path("/"), {"A": "x\0s/etc"}), [])


def test_a_command_that_is_too_long_is_refused() -> None:
    with pytest.raises(InputError, match=f"at most {MAX_REQUEST} fit"):
        encode_request(Request(("x" * MAX_REQUEST,), Path("/"), {}), [])


def test_the_initramfs_holds_init_modules_and_request(tmp_path: Path) -> None:
    (tmp_path / "kvm.ko").write_bytes(b"module")
    kernel = LabKernel(tmp_path / "vmlinux", (tmp_path / "kvm.ko",), "6.12", "0" * 64, tmp_path / "tool.json")
    found = unpack(initramfs(b"init", kernel, REQUEST))
    files = {name: data for name, (mode, _, _, data, _) in found.items() if stat.S_ISREG(mode)}
    assert files == {"init": b"init", "modules/kvm.ko": b"module", "request": TEXT.replace(b"/x.ko", b"/kvm.ko")}
    assert set(found) - set(files) == {"dev", "dev/console", "host", "layer", "modules", "proc", "root", "sys"}


def test_the_init_is_a_static_program(tmp_path: Path) -> None:
    build_init(c_dir(), "gcc", tmp_path / "init")
    listed = subprocess.run(["readelf", "-lW", tmp_path / "init"], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in listed


def test_an_init_that_does_not_compile_says_why(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/init.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(InputError, match=r"nothing.* undeclared"):
        build_init(tmp_path, "gcc", tmp_path / "init")


def test_a_compiler_that_hangs_ends_by_the_cancel(tmp_path: Path) -> None:
    cancel = Cancel()
    with cancelled_soon(cancel):
        build_init(c_dir(), hanging_tool(tmp_path / "cc"), tmp_path / "init", cancel)


def test_a_full_disk_is_not_called_an_init_that_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the disk is full"):
        build_init(
            c_dir(), failing_tool(tmp_path / "cc", "ld: final link failed: No space left on device"), tmp_path / "init"
        )
