"""``./doit`` on machines where something is missing, stale or moved: no network, no packages."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bootstrap.checkout import copy_wrapper

# Stands where Python would: prints what it was started with.
ECHO = '#!/bin/sh\nprintf "%s\\n" "$PWD" "$@"\n'
# A Python that makes environments in which nothing can be installed; what pip is told to, it prints.
MAKES_VENVS = """#!/bin/sh
case "$*" in
"-I -") printf 'version\\nvenv\\n' ;;
*"-m venv"*) for folder; do :; done; mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
*"-m pip"*) printf '%s\\n' "$*"; exit 1 ;;
*) printf '%s\\n' "$0" ;;
esac
"""
STAMPS = {
    "packages": ("bootstrap/packages.txt",),
    "project": ("pyproject.toml", "setup.py"),
    "run": ("bootstrap/requirements.lock",),
    "reports": ("bootstrap/requirements-reports.lock",),
    "dev": ("bootstrap/requirements-dev.lock",),
}


def _sums(root: Path, names: tuple[str, ...]) -> str:
    return "".join(f"{hashlib.sha256((root / name).read_bytes()).hexdigest()}  ../{name}\n" for name in names)


@dataclass
class Wrapper:
    """A checkout on a machine whose ``PATH`` and release can be chosen."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def set_up(self, *stamps: str) -> None:
        """As if an earlier run had succeeded, but for Python itself."""
        binaries = self.root / ".venv/bin"
        binaries.mkdir(parents=True)
        (binaries / "python").write_text(ECHO)
        (binaries / "python").chmod(0o755)
        for name in stamps:
            (self.root / f".venv/stamp.{name}").write_text(_sums(self.root, STAMPS[name]))
        (self.root / ".venv/stamp.root").write_text(f"{self.root}\n")

    def run(self, *args: str, command: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command or str(self.root / "doit"), *args],
            cwd=cwd or self.root,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), **self.environ},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def wrapper(tmp_path: Path) -> Wrapper:
    return Wrapper(copy_wrapper((tmp_path / "check out").resolve()))


@pytest.fixture
def elsewhere(wrapper: Wrapper, tmp_path: Path) -> Wrapper:
    """On a distribution whose packages we do not know."""
    release = tmp_path / "os-release"
    release.write_text('ID=slackware\nVERSION_ID="15.0"\n')
    wrapper.environ["KTSTR_OS_RELEASE"] = str(release)
    return wrapper


def pwd_name(other: list[str]) -> str:
    return pwd.getpwuid(65534 if other else os.geteuid()).pw_name


def _without(folder: Path, *lacking: str) -> str:
    """A ``PATH`` with everything of the system's but the programs that begin with these words."""
    folder.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            link = folder / program.name
            if not program.name.startswith(lacking) and not os.path.lexists(link):
                link.symlink_to(program)
    return str(folder)


def test_a_set_up_checkout_runs_the_front_end_with_the_arguments_as_they_are(wrapper: Wrapper) -> None:
    wrapper.set_up("packages", "project", "run")
    done = wrapper.run("test", "test=a b*", "")
    assert done.stdout.splitlines()[1:] == ["-P", "-m", "ktstr.tasks.main", "test", "test=a b*", ""]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_set_up_checkout_is_only_looked_at(wrapper: Wrapper) -> None:
    wrapper.set_up("packages", "project", "run")
    before = sorted(path for path in wrapper.root.rglob("*"))
    wrapper.run("list")
    assert sorted(path for path in wrapper.root.rglob("*")) == before


def test_the_user_stands_where_he_stood(wrapper: Wrapper, tmp_path: Path) -> None:
    wrapper.set_up("packages", "project", "run")
    link = tmp_path / "bin-doit"
    link.symlink_to(wrapper.root / "doit")
    for command in (str(link), "check out/doit"):
        assert wrapper.run(command=command, cwd=tmp_path).stdout.splitlines()[0] == str(tmp_path)


def test_check_alone_wants_a_browser(elsewhere: Wrapper, tmp_path: Path) -> None:
    elsewhere.environ["PATH"] = _without(tmp_path / "bin", "chromium", "gcc", "sudo")
    done = elsewhere.run("check")
    assert (done.returncode, done.stdout) == (3, "")
    assert "opens reports as their readers do" in done.stderr
    assert "gcc libc6-dev chromium;" in done.stderr
    assert "chromium" not in elsewhere.run("test").stderr


def test_the_list_of_what_checks_need_makes_only_their_set_up_stale(elsewhere: Wrapper) -> None:
    elsewhere.set_up("packages", "project", "run")
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    with (elsewhere.root / "bootstrap/packages-dev.txt").open("a") as file:
        file.write("\n# edited\n")
    assert elsewhere.run("list").returncode == 0


def test_check_alone_wants_the_development_lock(elsewhere: Wrapper) -> None:
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    elsewhere.set_up("packages", "project", "run")
    assert elsewhere.run("test", "check").returncode == 0
    assert elsewhere.run("slow=1", "check").returncode == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("stats", 3),
        ("stats_compare a_kernel=6.12 b_kernel=7.2", 3),
        ("json=1 stats_list_values", 3),
        ("test report", 3),
        ("test test=stats perf_delta", 3),
        ("stats_list", 0),
        ("stats_list_metrics json=1", 0),
        ("help stats", 0),
        ("test test=report", 0),
        ("list", 0),
        ("", 0),
    ],
)
def test_what_compares_or_reports_wants_the_lock_of_reports(elsewhere: Wrapper, words: str, code: int) -> None:
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    elsewhere.set_up("packages", "project", "run")
    assert elsewhere.run(*words.split()).returncode == code
    (elsewhere.root / ".venv/stamp.reports").write_text(_sums(elsewhere.root, STAMPS["reports"]))
    assert elsewhere.run(*words.split()).returncode == 0


@pytest.mark.parametrize(
    ("words", "environ", "code"),
    [
        ("test cluster=tcp://host:8786", {}, 3),
        ("cluster=local test", {}, 3),
        ("test cluster=none", {}, 0),
        ("test test=cluster=", {}, 0),
        ("test", {"KTSTR_CLUSTER": "local"}, 3),
        ("test", {"KTSTR_CLUSTER": "", "DASK_SCHEDULER_ADDRESS": ""}, 0),
        ("test", {"DASK_SCHEDULER_ADDRESS": "tcp://host:8786"}, 3),
        ("test", {"KTSTR_CLUSTER": "none", "DASK_SCHEDULER_ADDRESS": "tcp://host:8786"}, 0),
        ("test cluster=none", {"KTSTR_CLUSTER": "local"}, 0),
    ],
)
def test_a_cluster_wants_the_lock_of_reports_too(
    elsewhere: Wrapper, words: str, environ: dict[str, str], code: int
) -> None:
    elsewhere.environ |= {"KTSTR_PYTHON": "/nonexistent/python", **environ}
    elsewhere.set_up("packages", "project", "run")
    assert elsewhere.run(*words.split()).returncode == code
    (elsewhere.root / ".venv/stamp.reports").write_text(_sums(elsewhere.root, STAMPS["reports"]))
    assert elsewhere.run(*words.split()).returncode == 0


@pytest.mark.parametrize(
    ("made", "first", "wanted"),
    [
        ((), "list", "requirements.lock"),
        ((), "stats", "requirements-reports.lock"),
        ((), "check", "requirements-dev.lock"),
        (("reports",), "list", "requirements-reports.lock"),
        (("reports",), "check", "requirements-dev.lock"),
        (("reports", "dev"), "stats", "requirements-dev.lock"),
    ],
)
def test_what_was_once_set_up_for_more_stays_so(
    wrapper: Wrapper, tmp_path: Path, made: tuple[str, ...], first: str, wanted: str
) -> None:
    wrapper.set_up("packages", "project", "run", *made)
    for lock in (wrapper.root / "bootstrap").glob("*.lock"):
        lock.write_text("# another version of everything\n")
    python = tmp_path / "python"
    python.write_text(MAKES_VENVS)
    python.chmod(0o755)
    wrapper.environ["KTSTR_PYTHON"] = str(python)
    assert wrapper.run(first).returncode == 3
    assert (wrapper.root / ".venv.log").read_text().endswith(f"/bootstrap/{wanted}\n")


@pytest.mark.parametrize("name", ["bootstrap/packages.txt", "bootstrap/requirements.lock", "pyproject.toml"])
def test_a_changed_input_makes_the_set_up_stale(elsewhere: Wrapper, name: str) -> None:
    elsewhere.set_up("packages", "project", "run")
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    assert elsewhere.run("list").returncode == 0
    with (elsewhere.root / name).open("a") as file:
        file.write("\n# edited\n")
    assert elsewhere.run("list").returncode == 3


def test_a_moved_checkout_is_set_up_anew(elsewhere: Wrapper) -> None:
    elsewhere.set_up("packages", "project", "run")
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    elsewhere.root = elsewhere.root.rename(elsewhere.root.with_name("moved"))
    assert elsewhere.run("list").returncode == 3


def test_a_python_that_was_upgraded_away_is_noticed(elsewhere: Wrapper) -> None:
    elsewhere.set_up("packages", "project", "run")
    elsewhere.environ["KTSTR_PYTHON"] = "/nonexistent/python"
    python = elsewhere.root / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.9")
    assert elsewhere.run("list").returncode == 3


def test_elsewhere_exactly_the_missing_packages_are_named(elsewhere: Wrapper, tmp_path: Path) -> None:
    elsewhere.environ["PATH"] = _without(tmp_path / "bin", "gcc", "clang", "sudo")
    done = elsewhere.run("test")
    assert (done.returncode, done.stdout) == (3, "")
    assert "apt-get install -y --no-install-recommends gcc libc6-dev clang-19;" in done.stderr
    assert "compiles the guest agent" in done.stderr
    assert not (elsewhere.root / ".venv").exists()


def test_a_chosen_python_that_does_not_do_is_missing(elsewhere: Wrapper) -> None:
    elsewhere.environ["KTSTR_PYTHON"] = "/bin/false"
    done = elsewhere.run("test")
    assert done.returncode == 3
    assert "--no-install-recommends python3 python3-venv python3-dev;" in done.stderr


def test_an_old_python_in_the_path_is_passed_over(elsewhere: Wrapper, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "python3").write_text("#!/bin/sh\nexit 0\n")  # takes the question and says that it is neither
    (old / "python3").chmod(0o755)
    elsewhere.environ["PATH"] = f"{old}:{_without(tmp_path / 'bin', 'gcc')}"
    done = elsewhere.run("test")
    assert "--no-install-recommends gcc libc6-dev;" in done.stderr


def test_a_probe_nobody_knows_is_an_error(elsewhere: Wrapper) -> None:
    (elsewhere.root / "bootstrap/packages.txt").write_text("left-pad  npm:left-pad  pads\n")
    done = elsewhere.run("test")
    assert done.returncode == 3
    assert "npm:left-pad" in done.stderr


def test_without_its_packages_nothing_half_made_is_left(wrapper: Wrapper, tmp_path: Path) -> None:
    wrapper.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = wrapper.run("test")
    assert done.returncode == 3
    assert "fetching Python packages failed" in done.stderr
    assert "fix: with the network up" in done.stderr
    assert sorted(path.name for path in wrapper.root.glob(".venv*")) == [".venv.lock", ".venv.log"]


def test_a_package_whose_hash_differs_is_refused(wrapper: Wrapper, tmp_path: Path) -> None:
    (tmp_path / "evil-1.0-py3-none-any.whl").write_bytes(b"not what was locked")
    (wrapper.root / "bootstrap/requirements.lock").write_text(f"evil==1.0 --hash=sha256:{'0' * 64}\n")
    wrapper.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    assert wrapper.run("list").returncode == 3
    assert "DO NOT MATCH THE HASHES" in (wrapper.root / ".venv.log").read_text()


def test_in_a_folder_that_cannot_be_written_the_fix_is_named() -> None:
    with tempfile.TemporaryDirectory() as parent:  # one that others may enter, unlike pytest's own
        root = copy_wrapper(Path(parent).resolve() / "src")
        Path(parent).chmod(0o755)
        root.chmod(0o555)
        # Root may write anywhere, so ask as somebody else.
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run([*other, root / "doit", "list"], capture_output=True, text=True, check=False, timeout=60)
        root.chmod(0o755)
    assert done.returncode == 3
    assert f"doit: {root}: cannot be written" in done.stderr
    assert f"chown -R {pwd_name(other)}" in done.stderr
