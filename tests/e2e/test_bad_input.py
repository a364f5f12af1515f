"""What users get wrong, and what their machines refuse. Costs 9 boots of one vCPU: 30 s on two cores.

Every case: one clear message, the right exit code, no traceback, nothing half-written, no stray process.
Full disks and read-only places are real ones, made in a mount namespace of the test's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import UserProject, make_project
from tests.e2e.small import MARK, TINY_YAML, half_written, private_cache, processes, tiny_yaml
from tests.kernels.images import BANNER, COMPRESSORS, bzimage, vmlinux
from tests.vm.test_qemu import triple_fault_kernel

pytestmark = pytest.mark.e2e

ROOT_USER = os.geteuid() == 0
NAMESPACE = ("unshare", "--mount") if ROOT_USER else ("unshare", "--map-root-user", "--mount")
# Root passes every permission check, unless it gives that up.
PERMISSIONS_COUNT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if ROOT_USER else ()


@dataclass(frozen=True)
class Said:
    """What a run left."""

    code: int
    stdout: str
    stderr: str

    @property
    def all(self) -> str:
        """Both outputs, with the table's line breaks taken out."""
        return " ".join((self.stdout + self.stderr).split())


def _run(project: UserProject, *args: str, prefix: Sequence[str] = (), **extra: str) -> Said:
    """Run the front end, and check what must hold for every ending."""
    mark = uuid4().hex
    done = subprocess.run(
        [*prefix, *project.command(*args)],
        cwd=project.path, env=project.environment(**{MARK: mark, **extra}), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    said = Said(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in said.all
    assert "internal error" not in said.all
    assert not processes(mark)
    assert half_written(project) == []
    return said


def _refused(said: Said, *words: str) -> None:
    """Exit 2, nothing on standard output, one message that has the words."""
    assert said.code == 2, said
    assert said.stdout == ""
    assert said.stderr.startswith("doit: ")
    for word in words:
        assert word in said.stderr


# Command line


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("kernle=6.12", ["'kernle'", "nearest match 'kernel'", "fix: doit help test"]),
        ("test=nosuch", ["test=nosuch", "found no test of that name", "declared: pair"]),
        ("preset=nosuch", ["preset=nosuch", "tiny-1llc"]),
        ("scheduler=scx_nosuch", ["scheduler=scx_nosuch", "eevdf"]),
        ("kernel=nosuch", ["kernel=nosuch", "declared: default"]),
        ("kernel=/etc/passwd", ["/etc/passwd: is no kernel", "first bytes are", "expected bzImage or ELF vmlinux"]),
        ("kernel=/nonexistent", ["/nonexistent: cannot be read: found nothing there"]),
        ("kernel=.", ["not a kernel source tree", "no Makefile and no Kconfig"]),
        ("kernel=", ["kernel=: found ''"]),
        ("accel=icuont", ["accel=", "'icuont'", "nearest: icount"]),
        ("seeds=3..1", ["seeds=3..1"]),
        ("seeds=x", ["seeds=x"]),
        ("timeout=0", ["timeout=", "a duration such as 90s"]),
        ("jobs=0", ["jobs=", "at least 1"]),
        ("shard=3/2", ["shard=", "1 <= i <= n"]),
        ("rerun=maybe", ["rerun=", "expected 1 or 0"]),
        ("until=fail", ["until=", "takes no variable 'until'"]),
        ("--verbose", ["--verbose", "found an option, expected name=value"]),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_runs(
    project: UserProject, argument: str, words: list[str]
) -> None:
    project.write(tiny_yaml(1))
    _refused(_run(project, "test", argument), *words)
    assert not (project.path / "target/ktstr/.cells").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tset"], ["tset", "nearest match 'test'"]),
        (["check"], ["check: found no task of that name"]),
        (["kernel=6.12"], ["expected a task too", "fix: doit test kernel=6.12"]),
        (["forget"], ["doit's own command"]),
        (["test", "seed=1", "seeds=1..2"], ["seed= and seeds=: found both"]),
        (["test", "jobs=1", "jobs=2"], ["jobs=: given 2 times (1, 2)"]),
        (["help", "tset"], ["tset", "nearest match 'test'"]),
    ],
)
def test_a_wrong_command_is_refused(project: UserProject, arguments: list[str], words: list[str]) -> None:
    project.write(tiny_yaml(1))
    _refused(_run(project, *arguments), *words)


def test_a_wrong_environment_variable_is_named(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    _refused(_run(project, "test", KTSTR_JOBS="many"), "KTSTR_JOBS: found 'many'")


def test_outside_a_project_it_says_how_to_begin_one(tmp_path: Path) -> None:
    _refused(_run(UserProject(tmp_path), "test"), "found no dodo.py of ktstr here or above", "fix: ktstr init")


# ktstr.yaml


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("workers: 1", "wrokers: 1", ["ktstr.yaml:9:22", "'wrokers'", "nearest match 'workers'"]),
        ("tests:\n", "tetss:\n", ["ktstr.yaml:5:1", "'tetss'", "nearest match 'tests'"]),
        ("duration: 300ms", "duration: 300 parsecs", ["ktstr.yaml:7:15", "'300 parsecs'", "500ms"]),
        ("duration: 300ms", "duration: 300", ["ktstr.yaml:7:15", "300", "with its unit"]),
        ("tests: pair", "tests: apir", ["ktstr.yaml:12:", "'apir'", "nearest match 'pair'"]),
        ("presets: one", "presets: oen", ["ktstr.yaml:12:", "'oen'", "nearest match 'one'"]),
        ("seeds: 1..1", "seeds: 2..1", ["ktstr.yaml:12:", "2..1"]),
        ("1n1l1c1t", "2n3l1c1t", ["ktstr.yaml:4:8", "LLCs to be a multiple of nodes"]),
        ("1n1l1c1t", "1n1l0c1t", ["ktstr.yaml:4:8", "'1n1l0c1t'", "such as"]),
        ("1n1l1c1t", "1n1l999c2t", ["ktstr.yaml:4:8", "1998 CPUs, expected at most 512"]),
        ("workers: 1", "workers: 1, cpuset: {exact: 0-7}", ["ktstr.yaml:9:", "CPUs 1-7", "topology 1n1l1c1t"]),
        ("workers: 1", "workers: 1, cpuset: {llc: 3}", ["ktstr.yaml:9:", "LLC 3", "{min_llcs: 4}"]),
        ("{name: left, workers: 1}", "{name: left, workers: 1", ["ktstr.yaml:10:", "bad YAML"]),
        ("deb:forky/cloud-amd64", "dep:forky/cloud-amd64", ["dep:forky/cloud-amd64"]),
        ("duration: 300ms", "kargs: [init=/bin/sh]", ["ktstr.yaml:7:", "'init=/bin/sh'"]),
    ],
)
def test_a_mistake_in_ktstr_yaml_is_shown_where_it_is(
    project: UserProject, old: str, new: str, words: list[str]
) -> None:
    text = tiny_yaml(1)
    assert old in text
    project.write(text.replace(old, new, 1))
    _refused(_run(project, "test"), *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["ktstr.yaml:1:1", "found nothing, expected a mapping"]),
        (b"\xff\xfe\x00", ["ktstr.yaml:1:1", "byte 0xff, expected UTF-8"]),
        (b"- a\n- b\n", ["ktstr.yaml:1:1"]),
        (b"[" * 100_000, ["ktstr.yaml:1:"]),
        (None, ["ktstr.yaml: found no such file", "fix: ktstr init"]),
    ],
    ids=["empty", "no UTF-8", "a list", "nested too deep", "missing"],
)
def test_a_file_that_is_no_ktstr_yaml_is_refused(project: UserProject, data: bytes | None, words: list[str]) -> None:
    if data is not None:
        (project.path / "ktstr.yaml").write_bytes(data)
    _refused(_run(project, "test"), *words)


def test_a_damaged_lock_is_refused(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    lock = project.path / "ktstr.lock"
    lock.write_bytes(lock.read_bytes()[:300])
    _refused(_run(project, "test"), "ktstr.lock:", ": is no JSON: ", "version control")


# Kernels


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (vmlinux()[:-100], ["is no kernel", "truncated?"]),
        (vmlinux()[:20], ["is no kernel"]),
        (bzimage(COMPRESSORS["zstd"](vmlinux()))[:1100], ["is no kernel", "truncated?"]),
        (bzimage(b"\xfd7zXZ\0" + bytes(100)), ["is no kernel", "xz payload is damaged"]),
        (vmlinux(note=b"\0" * 16), ["is no kernel", "CONFIG_PVH=y"]),
        (b"", ["is no kernel", "first bytes are none"]),
    ],
    ids=["cut short", "only a head", "bzImage cut short", "damaged payload", "no PVH", "empty"],
)
def test_a_kernel_that_is_none_is_refused(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory, image: bytes, words: list[str]
) -> None:
    project.write(tiny_yaml(1))
    (project.path / "image").write_bytes(image)
    cache = private_cache(tmp_path_factory.mktemp("cache") / "own", "tools", "agents", "images")
    _refused(_run(project, "test", "kernel=image", KTSTR_CACHE_DIR=str(cache)), "image: ", *words)
    assert not (cache / "kernels").exists()


def test_a_kernel_that_dies_before_it_can_speak_fails_its_cell(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.write(tiny_yaml(1))
    (project.path / "image").write_bytes(triple_fault_kernel() + BANNER)
    cache = private_cache(tmp_path_factory.mktemp("cache") / "own", "tools", "agents", "images")
    said = _run(project, "test", "kernel=image", KTSTR_CACHE_DIR=str(cache))
    assert said.code == 1
    assert "the guest died of a triple fault before the agent said a word" in said.all


def _with_kernel_argument(argument: str) -> str:
    return tiny_yaml(1).replace("deb:forky/cloud-amd64", f'{{spec: deb:forky/cloud-amd64, kargs: ["{argument}"]}}')


def test_a_kernel_that_panics_at_boot_fails_its_cell_with_the_kernels_words(project: UserProject) -> None:
    project.write(_with_kernel_argument("mem=24M"))
    said = _run(project, "test")
    assert said.code == 1
    assert "the kernel panicked before the agent said a word: kernel panic: " in said.all
    assert "console.log" in said.stdout


def test_a_kernel_without_virtio_ports_is_an_error_that_says_so(project: UserProject) -> None:
    project.write(_with_kernel_argument("initcall_blacklist=virtio_console_init"))
    said = _run(project, "test")
    assert said.code == 3
    assert "the channel to the guest was lost" in said.all
    assert "the kernel shows no virtio port" in said.all
    assert not list((project.path / "target/ktstr/.cells").glob("*/record.json"))


@pytest.mark.parametrize("longer", ["duration: 60s", "memory_mib: 540, duration: 300ms"], ids=["a cell", "parking"])
def test_a_machine_that_takes_too_long_is_an_error_and_no_result(project: UserProject, longer: str) -> None:
    project.write(
        tiny_yaml(1).replace("pair:\n    duration: 300ms", f"pair:\n    {longer.replace(', ', chr(10) + '    ')}")
    )
    said = _run(project, "test", "timeout=1s", "no_skip=1")
    assert said.code == 3
    assert "did not finish within its limit of host time" in said.all
    assert not list((project.path / "target/ktstr/.cells").glob("*/record.json"))


# Disks


@pytest.fixture(scope="module")
def one_done(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    """A project with one measured cell."""
    project = make_project(tmp_path_factory.mktemp("done"), lock)
    project.write(tiny_yaml(1))
    assert project.test()[0] == 0
    return project


@pytest.fixture
def done(one_done: UserProject, tmp_path: Path) -> UserProject:
    """A copy of it."""
    shutil.copytree(one_done.path, tmp_path, dirs_exist_ok=True)
    return UserProject(tmp_path)


@pytest.mark.parametrize(("size", "boots"), [("4k", ()), ("512k", ("no_clone=1",))], ids=["a clone", "a boot"])
def test_a_full_disk_is_an_error_that_names_it(project: UserProject, size: str, boots: tuple[str, ...]) -> None:
    project.write(tiny_yaml(1))
    (project.path / "target").mkdir()
    script = f'mount -t tmpfs -o size={size} none target && "$@"; code=$?; find target -name "*.tmp*" >&2; exit $code'
    said = _run(project, "test", *boots, prefix=(*NAMESPACE, "sh", "-c", script, "sh"))
    assert said.code == 3
    assert "the disk is full" in said.all
    assert "set KTSTR_RUNS_ROOT to a larger disk" in said.all
    assert "ERROR - pair/one/default/eevdf/icount-s1" in said.all
    assert ".tmp" not in said.stderr


FILL_UP = """\
mount -t tmpfs -o size=4m none target || exit 99
"$@" jobs=1 >first.json 2>progress &
pid=$!
until grep -q '^.1/2. ' progress; do kill -0 $pid || exit 98; sleep 0.05; done
cat /dev/zero >target/filler 2>/dev/null
wait $pid
echo $? >first.code
find target -name '*.tmp*' -o -name '.run-*' >left
rm target/filler
exec "$@"
"""


def test_a_disk_that_fills_up_keeps_the_finished_cells_and_the_table(project: UserProject) -> None:
    project.write(tiny_yaml(2))
    (project.path / "target").mkdir()
    second = _run(project, "test", "json=1", prefix=(*NAMESPACE, "sh", "-c", FILL_UP, "sh"))
    first = json.loads((project.path / "first.json").read_text())
    progress = (project.path / "progress").read_text()
    assert (project.path / "first.code").read_text() == "3\n"
    assert sorted(cell["verdict"] for cell in first["cells"]) == ["error", "pass"]
    (lost,) = (cell for cell in first["cells"] if cell["verdict"] == "error")
    assert "full" in " ".join(lost["reasons"])
    assert "Traceback" not in progress
    assert "internal error" not in progress
    assert (project.path / "left").read_text() == ""
    assert second.code == 0
    assert [cell["name"] for cell in json.loads(second.stdout)["cells"] if cell["ran"]] == [lost["name"]]


def test_a_full_cache_is_an_error_that_names_it(project: UserProject, tmp_path_factory: pytest.TempPathFactory) -> None:
    project.write(tiny_yaml(1))
    cache = private_cache(tmp_path_factory.mktemp("cache") / "own", "tools", "kernels")
    for kind in ("agents", "images"):
        (cache / kind).mkdir()
    script = f'mount -t tmpfs -o size=64k none "{cache}/agents" && exec "$@"'
    said = _run(project, "test", prefix=(*NAMESPACE, "sh", "-c", script, "sh"), KTSTR_CACHE_DIR=str(cache))
    assert said.code == 3
    assert "the disk is full" in said.all
    assert "KTSTR_CACHE_DIR" in said.all


def test_a_read_only_cache_that_has_everything_is_enough(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An earlier run has filled it: the project fixture warms the cache."""
    project.write(tiny_yaml(1))
    cache = private_cache(tmp_path_factory.mktemp("cache") / "own", "tools", "kernels", "agents", "images")
    cache.chmod(0o500)
    said = _run(project, "test", prefix=PERMISSIONS_COUNT, KTSTR_CACHE_DIR=str(cache))
    assert said.code == 0, said


def test_a_read_only_cache_that_lacks_the_kernel_is_an_error_with_its_fix(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.write(tiny_yaml(1))
    cache = private_cache(tmp_path_factory.mktemp("cache") / "own", "tools")
    cache.chmod(0o500)
    said = _run(project, "test", prefix=PERMISSIONS_COUNT, KTSTR_CACHE_DIR=str(cache))
    assert said.code == 3
    assert str(cache) in said.stderr
    assert "Permission denied" in said.stderr
    assert "fix: make " in said.stderr


def test_an_unwritable_project_is_an_error_that_names_it(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    project.path.chmod(0o500)
    try:
        said = _run(project, "test", prefix=PERMISSIONS_COUNT)
    finally:
        project.path.chmod(0o700)
    assert said.code == 3
    assert "target" in said.stderr
    assert "Permission denied" in said.stderr
    assert "KTSTR_RUNS_ROOT" in said.stderr


def test_a_target_that_is_a_file_is_an_error_that_names_it(project: UserProject) -> None:
    project.write(tiny_yaml(1))
    (project.path / "target").write_text("mine")
    said = _run(project, "test")
    assert said.code == 3
    assert "target" in said.stderr
    assert (project.path / "target").read_text() == "mine"


def test_a_run_directory_that_cannot_be_filled_does_not_cost_the_table(done: UserProject) -> None:
    for folder in (done.path / "target/ktstr").iterdir():
        if not folder.name.startswith("."):
            shutil.rmtree(folder)
    (done.path / "target/ktstr").chmod(0o500)
    said = _run(done, "test", prefix=PERMISSIONS_COUNT)
    (done.path / "target/ktstr").chmod(0o700)
    assert said.code == 3
    assert "1 cell: 1 passed (0 ran, 1 up to date)" in said.stdout
    assert "cannot be filled: Permission denied" in said.stderr


def test_a_junit_file_that_cannot_be_written_does_not_cost_the_table(done: UserProject) -> None:
    said = _run(done, "test", "junit=/proc/nowhere/junit.xml")
    assert said.code == 3
    assert "1 cell: 1 passed (0 ran, 1 up to date)" in said.stdout
    assert "junit=/proc/nowhere/junit.xml" in said.stderr
    assert "fix: " in said.stderr


def test_the_yaml_of_these_tests_is_what_the_line_numbers_above_count_on() -> None:
    lines = TINY_YAML.splitlines()
    assert [lines[i - 1].split(":")[0].strip() for i in (4, 5, 7, 12)] == ["one", "tests", "duration", "all"]
