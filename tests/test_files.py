from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktstr import files
from ktstr.errors import HostError, InputError
from ktstr.files import (
    MAX_DEPTH,
    disk_bytes,
    full_or_denied,
    parse_json,
    read_json,
    read_json_value,
    refused,
    staged,
    staging_name,
    unreadable,
    write_atomic,
    write_new,
)


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        (errno.ENOSPC, None, "/place: the disk is full"),
        (errno.EROFS, "/c", "/c: cannot be written: Read-only file system"),
        (errno.EAGAIN, None, "the system: Resource temporarily unavailable"),
        (errno.E2BIG, "gcc", "gcc: Argument list too long"),
        (errno.ENOENT, "a.c", "a.c: No such file or directory"),
        (errno.EACCES, "a.c", "a.c: Permission denied\n  fix: let this user have it"),
        (errno.EMFILE, None, "the system: Too many open files\n  fix: raise the limit on open files"),
    ],
)
def test_only_what_cannot_be_but_writing_is_called_writing(code: int, name: str | None, words: str) -> None:
    assert str(refused(OSError(code, os.strerror(code), name), Path("/place"), None)).startswith(words)


def test_a_file_is_replaced_whole_and_its_staging_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    write_atomic(path, b"one", "tmp.1.2")
    write_atomic(path, b"two", "tmp.1.2")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_an_interrupted_write_leaves_the_old_file_and_no_staging_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, b"one", "tmp")

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"two", "tmp")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_an_unwritable_place_is_a_host_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(HostError, match=r"f/x\.json: cannot be written"):
        write_atomic(tmp_path / "f" / "x.json", b"", "tmp")


def test_staging_names_carry_process_and_run() -> None:
    assert staging_name("20250102T030405Z-0") == f"tmp.{os.getpid()}.20250102T030405Z-0"


def test_an_error_in_json_names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{\n "a": ,\n}')
    with pytest.raises(InputError, match=r"x\.json:2:7: is no JSON"):
        read_json(path, 1000)


def test_the_cap_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a":1}')
    assert read_json(path, 7) == {"a": 1}
    with pytest.raises(InputError, match="more than 6 bytes"):
        read_json(path, 6)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"b": [{"x": {"a": null, "c": 1, "a": 2}}]}'])
def test_a_key_that_is_there_twice_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: .*found the key 'a' twice in one object, expected it once"):
        read_json(path, 1000)


def test_the_same_key_in_two_objects_is_no_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": {"a": 1}, "b": {"a": 2}}')
    assert read_json(path, 1000) == {"a": {"a": 1}, "b": {"a": 2}}


@pytest.mark.parametrize(("left", "right", "each"), [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[1,{"a":', b"}]", 2)])
def test_json_is_as_deep_as_allowed_and_no_deeper(left: bytes, right: bytes, each: int) -> None:
    """What the parser can just take would be an error of whoever prints it."""
    text = left * (MAX_DEPTH // each) + b"7" + right * (MAX_DEPTH // each)
    parse_json(text, "x", 10_000)
    with pytest.raises(InputError, match=r"^x: is nested too deeply$"):
        parse_json(b"[" + text + b"]", "x", 10_000)


def test_bytes_at_hand_are_refused_as_those_of_a_file_are(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for data in (b"[" * 100_000, b'{"a": 1, "a": 2}', b"NaN", b"1e999", b"\xff", b"", b"7" * 5000, b" " * 200_000):
        path.write_bytes(data)
        with pytest.raises(InputError) as of_bytes:
            parse_json(data, path, 100_000)
        with pytest.raises(InputError) as of_file:
            read_json_value(path, 100_000)
        assert str(of_bytes.value) == str(of_file.value)


def test_any_value_is_one_but_only_an_object_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[1]")
    assert read_json_value(path, 3) == [1]
    with pytest.raises(InputError, match="found a list, expected an object"):
        read_json(path, 3)


def test_the_disk_bytes_a_folder_that_is_being_removed_is_no_error(tmp_path: Path) -> None:
    churn = (
        "import os, shutil, sys\nroot = sys.argv[1] + '/t'\n"
        "while True:\n for i in range(30): os.makedirs(f'{root}/{i}/a/b', exist_ok=True)\n"
        " shutil.rmtree(root, ignore_errors=True)"
    )
    with subprocess.Popen([sys.executable, "-c", churn, str(tmp_path)]) as process:
        try:
            while not (tmp_path / "t").exists():
                time.sleep(0.01)
            sizes = [disk_bytes(tmp_path) for _ in range(300)]
        finally:
            process.kill()
    assert len(sizes) == 300


def test_size_counts_blocks_and_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    one = disk_bytes(tmp_path)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert one >= 100_000
    assert disk_bytes(tmp_path) == one
    assert disk_bytes(tmp_path / "none") == 0


def test_disk_bytes_counts_a_hard_linked_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(1 << 20))
    os.link(tmp_path / "a", tmp_path / "b")
    blocks = int(subprocess.run(["du", "-s", "-B1", tmp_path], capture_output=True, check=True).stdout.split()[0])
    assert disk_bytes(tmp_path) == blocks


def test_a_link_to_a_folder_counts_as_itself(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    before = disk_bytes(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(os.urandom(1 << 20))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    assert disk_bytes(tmp_path / "in") < before + (1 << 20)


def test_a_file_alone_has_the_size_of_its_blocks(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(8192))
    assert disk_bytes(tmp_path / "a") == (tmp_path / "a").stat().st_blocks * 512


def test_what_a_program_writes_itself_appears_when_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out"
    with staged(path) as temp:
        subprocess.run(["cp", "/proc/self/comm", str(temp)], check=True)
        assert not path.exists()
    assert path.read_text() == "cp\n"
    with pytest.raises(subprocess.CalledProcessError), staged(path) as temp:
        temp.write_text("half")
        subprocess.run(["false"], check=True)
    assert path.read_text() == "cp\n"
    assert [p.name for p in path.parent.iterdir()] == ["out"]


def test_two_writers_of_one_file_never_share_their_staging_file(tmp_path: Path) -> None:
    """Processes of two containers may have one number."""
    with staged(tmp_path / "x") as one, staged(tmp_path / "x") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "x").read_text() == "one"


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_new(path, b"one")
    with pytest.raises(FileExistsError):
        write_new(path, b"two")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "dangling", b"two")
    assert path.read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "x"]


def test_a_full_disk_is_told_where_it_is_met_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on a file's size stands for the disk: the same write fails in the middle, with EFBIG."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from ktstr.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_atomic(Path(sys.argv[1]), bytes(10000))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert f"{tmp_path / 'x'}: cannot be written: File too large\n  fix: raise the limit on a file's size" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "message", "fix"),
    [
        (errno.ENOSPC, "/c: the disk is full", "free some space, or set KTSTR_X to a larger disk"),
        (errno.EDQUOT, "/c: the disk is full: this user's quota is used up", "free some space, or set KTSTR_X to a"),
        (errno.EACCES, "/c: cannot be written: Permission denied", "make it writable for this user, or set KTSTR_X"),
        (errno.EPERM, "/c: cannot be written: Operation not permitted", "make it writable for this user, or set"),
        (errno.EROFS, "/c: cannot be written: Read-only file system", "mount its filesystem writable, or set KTSTR_X"),
        (errno.ENOENT, "/c: cannot be written: No such file", "make the folder that is missing, or set KTSTR_X"),
        (errno.ENOTDIR, "/c: cannot be written: Not a directory", "move away the file that is in the place of a"),
        (errno.EEXIST, "/c: cannot be written: File exists", "move away what is there, or set KTSTR_X"),
        (errno.EISDIR, "/c: cannot be written: Is a directory", "move away the folder that is there, or set KTSTR_X"),
        (errno.ENAMETOOLONG, "/c: cannot be written: File name too long", "use shorter names, or set KTSTR_X"),
        (errno.EFBIG, "/c: cannot be written: File too large", "raise the limit on a file's size (ulimit -f), or set"),
        (errno.EIO, "/c: cannot be written: Input/output error", "check that disk: dmesg shows its errors, or set"),
        (errno.EMFILE, "/c: cannot be written: Too many open files", "raise the limit on open files (ulimit -n)"),
        (errno.ENFILE, "/c: cannot be written: Too many open files in system", "as root: raise the limit on all"),
        (errno.ETIMEDOUT, "/c: cannot be written: Connection timed out", "make it writable, or set KTSTR_X"),
    ],
)
def test_each_error_of_the_system_says_what_it_is_and_what_helps(code: int, message: str, fix: str) -> None:
    found = full_or_denied(OSError(code, os.strerror(code)), Path("/c"), "KTSTR_X")
    assert found.message.startswith(message)
    assert found.fix is not None and found.fix.startswith(fix)
    assert ("KTSTR_X" in found.fix) == (code not in (errno.EMFILE, errno.ENFILE))
    assert "set" not in str(full_or_denied(OSError(code, "x"), Path("/c"), None).fix)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOENT, "k: cannot be read: No such file or directory\n  fix: correct its name"),
        (errno.EACCES, "k: cannot be read: Permission denied\n  fix: make it readable for this user"),
        (errno.EMFILE, "k: cannot be read: Too many open files\n  fix: raise the limit on open files"),
        (errno.EISDIR, "k: cannot be read: Is a directory\n  fix: move away the folder that is there"),
    ],
)
def test_reading_has_its_own_words(code: int, said: str) -> None:
    assert str(unreadable(OSError(code, os.strerror(code)), "k")).startswith(said)


# Who may rename: whole folders, not files. ``file: functions``.
FOLDER_RENAMES = {
    "files.py": {"replace_file", "write_new"},
    "cluster/finished.py": {"keep"},  # the folder of a run is what is kept of it
    "host/cache.py": {"_swap", "_exchange", "_replace"},  # an entry changes places with the one that is there
    "host/lease.py": {"_born_signed"},  # a file gets its name once it is locked and signed
    "kernels/cleaning.py": {"_remove"},  # an entry is moved away before it is removed
    "kernels/patched.py": {"_make", "_link", "_put"},  # trees and files that are hard links: the other names stay
    "results/store.py": {"_put"},  # a cell's folder
    "tools/bundle.py": {"_merge"},  # unpacked trees become one
    "vm/snapshot_store.py": {"_remove"},
}
RENAMES = {"rename", "renames", "renameat2", "link", "hardlink_to", "move"}


def renames(path: Path) -> set[str]:
    """The functions of a module that call what renames files."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            name = call.func.attr
            on_os = isinstance(call.func.value, ast.Name) and call.func.value.id == "os"
            # str.replace takes two arguments, dataclasses.replace and datetime.replace take keywords
            replaces = name == "replace" and (on_os or (len(call.args) == 1 and not call.keywords))
            if name in RENAMES or replaces:
                found.add(function.name)
    return found


def test_no_other_module_replaces_files() -> None:
    package = Path(files.__file__).parent
    found = {str(path.relative_to(package)): names for path in package.rglob("*.py") if (names := renames(path))}
    assert found == FOLDER_RENAMES
