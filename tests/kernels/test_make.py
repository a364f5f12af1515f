"""make as it is run for kernels: progress, causes, and an end for everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.kernels.make import BuildFailed, Make
from ktstr.kernels.toolchain import find_toolchain
from ktstr.progress import Steps
from tests.host.waits import gone

ROOT = Path(__file__).parents[2]


def made(folder: Path, makefile: str, **more: object) -> Make:
    folder.mkdir(exist_ok=True)
    (folder / "Makefile").write_text(makefile)
    return Make(folder, folder, find_toolchain(os.environ), folder / "build.log", **more)  # type: ignore[arg-type]


STEPS = "all: $(addsuffix .o,$(shell seq 30))\n\t@true\n%.o:\n\t@echo '  CC      $@'; sleep 0.01\n"


def test_files_are_counted_and_the_end_foretold(tmp_path: Path) -> None:
    told: list[Steps] = []
    steps = made(tmp_path / "t", STEPS).run(["all"], expected=30, on_progress=told.append)
    assert steps == 30
    assert (told[-1].done, told[-1].total, told[-1].last) == (30, 30, "30.o")
    assert told[0].eta_s is None and told[-1].eta_s == 0
    assert "  CC      17.o" in (tmp_path / "t/build.log").read_text()


def test_without_an_earlier_build_no_total_is_made_up(tmp_path: Path) -> None:
    told: list[Steps] = []
    made(tmp_path / "t", STEPS).run(["all"], on_progress=told.append)
    assert {(progress.total, progress.eta_s) for progress in told} == {(None, None)}


def test_more_files_than_expected_are_no_more_than_all(tmp_path: Path) -> None:
    told: list[Steps] = []
    made(tmp_path / "t", STEPS).run(["all"], expected=10, on_progress=told.append)
    assert (told[-1].done, told[-1].total, told[-1].eta_s) == (30, 30, 0)


def test_a_failure_shows_its_causes_and_where_the_rest_is(tmp_path: Path) -> None:
    make = made(tmp_path / "t", "all:\n\t@seq 500\n\t@echo 'a.c:3:5: error: no such thing'\n\t@false\n")
    with pytest.raises(BuildFailed) as caught:
        make.run(["all"])
    assert "a.c:3:5: error: no such thing" in caught.value.message
    assert "\n  499\n" not in caught.value.message
    assert caught.value.fix == f"the whole output is in {make.log}"


def test_a_tool_that_is_missing_is_shown_and_not_makes_echo_of_it(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        made(tmp_path / "t", "all:\n\t@$(MAKE) one\none:\n\t@/usr/bin/env nosuchtool\n").run(["all"])
    assert "'nosuchtool': No such file or directory" in caught.value.message
    assert "Error 127" not in caught.value.message


def test_a_question_of_kconfigs_is_answered_by_saying_what_to_run(tmp_path: Path) -> None:
    text = "all:\n\t@echo 'Error in reading or end of file.'; echo 'Console input/output is redirected.'; exit 1\n"
    with pytest.raises(BuildFailed) as caught:
        made(tmp_path / "t", text).run(["all"])
    assert caught.value.fix is not None and f"make -C {tmp_path / 't'} olddefconfig" in caught.value.fix


def test_nothing_of_the_users_environment_reaches_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBUILD_BUILD_USER", "somebody")
    monkeypatch.setenv("CFLAGS", "-O0")
    made(tmp_path / "t", "all:\n\t@env\n").run(["all"])
    log = (tmp_path / "t/build.log").read_text()
    assert "KBUILD_BUILD_USER=ktstr" in log and "CFLAGS=-O0" not in log


SLEEPER = "all: a b\na b:\n\t@echo $$$$ > $@.pid; sleep 60\n"


def pids(folder: Path) -> list[int]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [path.read_text().strip() for path in folder.glob("*.pid")]
        if len(found) == 2 and all(found):
            return [int(text) for text in found]
        time.sleep(0.05)
    raise AssertionError("make did not start")


def test_objects_do_not_depend_on_where_the_tree_lies(tmp_path: Path) -> None:
    rule = "all:\n\t@gcc -g $(KCFLAGS) -c $(CURDIR)/x.c -o x.o\n\t@gcc -g $(KAFLAGS) -c $(CURDIR)/y.S -o y.o\n"
    for name in ("one", "another/place"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.c").write_text("int x(void) { return 1; }\n")
        (tmp_path / name / "y.S").write_text(".text\ny: ret\n")
        made(tmp_path / name, rule).run(["all"])
    for name in ("x.o", "y.o"):
        data = (tmp_path / "one" / name).read_bytes()
        assert data == (tmp_path / "another/place" / name).read_bytes()
        assert str(tmp_path).encode() not in data


def test_a_cancelled_build_leaves_no_process(tmp_path: Path) -> None:
    cancel = Cancel()
    make = made(tmp_path / "t", SLEEPER, cancel=cancel)

    def cancel_when_running() -> None:
        pids(tmp_path / "t")
        cancel.set()

    threading.Thread(target=cancel_when_running).start()
    with pytest.raises(Cancelled, match="interrupted"):
        make.run(["all"], jobs=2)
    assert all(gone(pid) for pid in pids(tmp_path / "t"))


def test_make_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    make = made(folder, "all:\n\t@echo $$PPID > a.pid; echo $$PPID > b.pid; sleep 60\n")
    code = (
        "import os, sys; from pathlib import Path; from ktstr.kernels.make import Make;"
        "from ktstr.kernels.toolchain import find_toolchain; p = Path(sys.argv[1]);"
        "Make(p, p, find_toolchain(os.environ), p / 'build.log').run(['all'])"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(make.source)], cwd=ROOT)
    running = pids(folder)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert gone(running[0])


def test_the_log_cannot_be_written(tmp_path: Path) -> None:
    make = made(tmp_path / "t", "all:\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file"):
        Make(make.source, make.out, make.toolchain, tmp_path / "file/log").run(["all"])
