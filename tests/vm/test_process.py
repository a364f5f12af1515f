from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.vm import watch
from ktstr.vm.process import Command, supervise
from ktstr.vm.watch import Ended, Limits

SH = "/bin/sh"
ROOT = Path(__file__).parent.parent.parent


def run(tmp_path: Path, script: str, limits: Limits | None = None, cancel: Cancel | None = None) -> Ended:
    return supervise(Command([SH, "-c", script], tmp_path / "out"), limits or Limits(20), cancel or Cancel())


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


class TestEnds:
    def test_the_exit_code_and_the_output_are_kept(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "echo to stdout; echo to stderr >&2; exit 7")
        assert (ended.status, ended.stopped, ended.flooded) == (7, None, None)
        assert (tmp_path / "out").read_text() == "to stdout\nto stderr\n"

    def test_a_signal_is_told_from_an_exit(self, tmp_path: Path) -> None:
        assert run(tmp_path, "kill -SEGV $$").status == -signal.SIGSEGV

    def test_a_command_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        ended = supervise(Command(["/no/such/program"], tmp_path / "out"), Limits(20), Cancel())
        assert ended.status == 127
        assert "/no/such/program: No such file or directory" in (tmp_path / "out").read_text()

    def test_the_end_is_noticed_at_once(self, tmp_path: Path) -> None:
        started = time.monotonic()
        ended = run(tmp_path, "sleep 0.25")
        assert 0.25 <= ended.seconds <= time.monotonic() - started < 2

    def test_nothing_is_left_to_reap(self, tmp_path: Path) -> None:
        run(tmp_path, "echo $$ > pid; exit 0".replace("pid", str(tmp_path / "pid")))
        with pytest.raises(ChildProcessError):
            os.waitpid(int((tmp_path / "pid").read_text()), os.WNOHANG)


class TestSurroundings:
    def test_it_has_a_session_of_its_own_and_nothing_to_read(self, tmp_path: Path) -> None:
        ended = run(tmp_path, "read line && exit 1; cut -d' ' -f1,6 /proc/$$/stat")
        pid, session = (tmp_path / "out").read_text().split()
        assert (ended.status, pid) == (0, session)

    def test_the_preload_of_our_environment_is_not_passed_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        script = [SH, "-c", 'echo "$LD_LIBRARY_PATH,$MINE"']
        supervise(Command(script, tmp_path / "out", {"MINE": "1"}), Limits(20), Cancel())
        assert (tmp_path / "out").read_text() == ",1\n"

    def test_it_handles_the_signals_that_python_ignores(self, tmp_path: Path) -> None:
        run(tmp_path, "grep -E 'Sig(Ign|Blk)' /proc/self/status")
        masks = [int(line.split()[1], 16) for line in (tmp_path / "out").read_text().splitlines()]
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
            assert not any(mask >> (number - 1) & 1 for mask in masks)


class TestDescriptors:
    def test_those_named_are_inherited_under_their_numbers_and_no_others(self, tmp_path: Path) -> None:
        named, other = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("named", "other"))
        os.write(named, b"from us\n")
        script = f"cat /proc/self/fd/{named}; echo from it >> /proc/self/fd/{named}; ls /proc/self/fd"
        command = Command([SH, "-c", script], tmp_path / "out", descriptors=(named,))
        assert supervise(command, Limits(20), Cancel()).status == 0
        first, *seen = (tmp_path / "out").read_text().split("\n")
        assert first == "from us"
        assert str(named) in seen and str(other) not in seen
        assert os.pread(named, 100, 0) == b"from us\nfrom it\n"
        assert not os.get_inheritable(named)
        os.close(named)
        os.close(other)

    def test_one_of_a_standard_streams_number_is_moved(self) -> None:
        script = (
            "import os; from ktstr.vm.descriptors import above_standard; os.close(0);"
            "low = os.memfd_create('x'); high = above_standard(low); assert low == 0 and high > 2, (low, high);"
            "assert not os.get_inheritable(high); os.fstat(high); assert above_standard(high) == high;"
            "os.close(high); assert os.memfd_create('y') == 0"
        )
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


class TestStops:
    def test_the_time_limit_kills(self, tmp_path: Path) -> None:
        ended = run(tmp_path, f"echo $$ > {tmp_path}/pid; trap '' TERM INT; while :; do sleep 1; done", Limits(0.5))
        assert (ended.stopped, ended.status) == ("timeout", -signal.SIGKILL)
        assert 0.5 <= ended.seconds < 1.5
        assert not is_running(int((tmp_path / "pid").read_text()))

    def test_cancel_kills_within_a_second(self, tmp_path: Path) -> None:
        cancel = Cancel()
        threading.Timer(0.5, cancel.set).start()
        ended = run(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60", cancel=cancel)
        assert ended.stopped == "cancelled"
        assert ended.seconds < 1.5
        assert not is_running(int((tmp_path / "pid").read_text()))

    def test_a_file_that_grows_too_large_kills(self, tmp_path: Path) -> None:
        limits = Limits(20, ((tmp_path / "small", 100), (tmp_path / "big", 1000)))
        ended = run(tmp_path, f"echo x > {tmp_path}/small; while :; do echo yyyyyyyyyy; done > {tmp_path}/big", limits)
        assert (ended.stopped, ended.flooded) == ("flood", tmp_path / "big")
        assert (tmp_path / "big").stat().st_size <= 17 << 20

    def test_one_that_floods_and_ends_before_it_is_looked_at_is_noticed(self, tmp_path: Path) -> None:
        ended = run(tmp_path, f"echo too many bytes > {tmp_path}/big", Limits(20, ((tmp_path / "big", 4),)))
        assert (ended.stopped, ended.status) == ("flood", 0)

    def test_no_file_grows_beyond_the_kernels_limit(self, tmp_path: Path) -> None:
        ended = run(
            tmp_path, f"exec head -c 64M /dev/zero > {tmp_path}/big", Limits(20, ((tmp_path / "big", 1 << 20),))
        )
        assert ended.stopped == "flood"
        assert (tmp_path / "big").stat().st_size <= 17 << 20

    def test_a_dead_guest_gets_its_grace_and_no_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "DEAD_GRACE_S", 0.5)
        ended = run(tmp_path, "exec sleep 60", Limits(20, (), lambda: True))
        assert ended.stopped == "dead"
        assert 0.5 <= ended.seconds < 3

    def test_an_exception_leaves_no_process(self, tmp_path: Path) -> None:
        def raises() -> bool:
            wait_for(tmp_path / "pid")
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            run(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60", Limits(20, (), raises))
        assert not is_running(int((tmp_path / "pid").read_text()))

    def test_an_interrupt_leaves_no_process(self, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"

        def interrupt() -> None:
            wait_for(pid_file)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, f"echo $$ > {pid_file}; exec sleep 60")
        thread.join()
        assert not is_running(int(pid_file.read_text()))


SUPERVISOR = """
import sys, threading
from pathlib import Path
from ktstr.cancel import Cancel
from ktstr.vm.process import Command, supervise
from ktstr.vm.watch import Limits
folder = Path(sys.argv[1])
command = Command(["/bin/sh", "-c", f"echo $$ > {folder}/pid; exec sleep 60"], folder / "out")
thread = threading.Thread(target=supervise, args=(command, Limits(60), Cancel()))
thread.start()
thread.join()
"""


class TestTether:
    @pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM])
    def test_it_dies_with_the_program_that_started_it(self, tmp_path: Path, deadly: signal.Signals) -> None:
        with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT) as parent:
            pid = int(wait_for(tmp_path / "pid"))
            assert is_running(pid)
            parent.send_signal(deadly)
            parent.wait(10)
        deadline = time.monotonic() + 5
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(pid)

    def test_it_does_not_start_for_a_parent_that_is_gone(self, tmp_path: Path) -> None:
        tether = ROOT / "ktstr/host/tether.py"
        nobody = str(2**22 + 1)  # above the kernel's largest pid
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(tether), nobody, "1000", "/usr/bin/touch", str(tmp_path / "ran")],
            check=False,
        )
        assert done.returncode == 127
        assert not (tmp_path / "ran").exists()


class TestMeasures:
    def test_peak_memory_is_that_of_the_process_alone(self, tmp_path: Path) -> None:
        ballast = b"x" * (200 << 20)
        ended = run(tmp_path, "sleep 1.2")
        assert len(ballast) == 200 << 20
        assert ended.peak_kib is not None
        assert 500 < ended.peak_kib < 50 << 10

    def test_dilation_is_measured_of_the_named_threads_only(self, tmp_path: Path) -> None:
        spin = [SH, "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 1"]
        cancel = Cancel()
        named = supervise(Command(spin, tmp_path / "out", vcpu_threads="sh"), Limits(30), cancel)
        assert named.dilation is not None
        assert named.dilation >= 1
        assert supervise(Command(spin, tmp_path / "out", vcpu_threads="CPU "), Limits(30), cancel).dilation is None
        assert supervise(Command(spin, tmp_path / "out"), Limits(30), cancel).dilation is None
