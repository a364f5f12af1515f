"""A wheel made from this checkout holds all that an installed ktstr needs, and only that."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.bootstrap.checkout import ROOT, copy_checkout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline by the locked setuptools, from a checkout with a stale build folder in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_checkout(folder / "source")
    stale = source / "build/lib/ktstr/removed_long_ago.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
    ]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("ktstr-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel unpacked, as pip unpacks one."""
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _files(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob(pattern) if path.is_file()}


@pytest.mark.parametrize(
    ("here", "there", "pattern"),
    [
        ("vmm_c/include", "_c/include", "*.h"),
        ("vmm_c/include", "_c/include", "*.def"),
        ("vmm_c/guest", "_c/guest", "**/*.[ch]"),
        ("vmm_c/qemu", "_c/qemu", "*.c"),
        ("schemas", "_schemas", "*.json"),
        ("schedulers", "_schedulers", "**/*.[ch]"),
        ("ktstr", "", "**/*.py"),
        ("ktstr/template", "template", "*"),
        ("ktstr/stats/report/templates", "stats/report/templates", "*"),
    ],
)
def test_every_file_is_in_the_wheel(installed: Path, here: str, there: str, pattern: str) -> None:
    expected = _files(ROOT / here, pattern)
    assert expected
    assert expected <= _files(installed / "ktstr" / there, pattern)


def test_the_tables_are_those_of_what_the_agent_includes(installed: Path) -> None:
    for name in ("work_table.py", "op_table.py"):
        assert (installed / "ktstr/record" / name).read_text() == (ROOT / "ktstr/record" / name).read_text()


def test_nothing_stale_and_no_tests_are_in_it(installed: Path) -> None:
    assert not (installed / "ktstr/removed_long_ago.py").exists()
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"ktstr"}


def test_an_installed_ktstr_finds_its_own_files(installed: Path, tmp_path: Path) -> None:
    code = (
        "from ktstr import resources as r; from pathlib import Path; import ktstr\n"
        "base = Path(ktstr.__file__).parent\n"
        "for p in (r.c_dir() / 'include/ktstr_proto.h', r.schema('ktstr'), r.scheduler_source('scx_ktstr')):\n"
        "    assert p.exists() and p.is_relative_to(base), p\n"
        "print(base)\n"
    )
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(installed / "ktstr")), done.stderr


def test_plain_doit_is_told_of_the_front_end(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    text = entry_points.read_text()
    assert "[doit.COMMAND]" in text
    assert "run = ktstr.tasks.plain:Run" in text
    assert "ktstr = ktstr.cli:main" in text
