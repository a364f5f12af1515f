from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ktstr.vm.procfs import VcpuTimes, peak_memory_kib

GONE = 2**22 + 1  # above the kernel's largest pid


def fake_thread(folder: Path, tid: int, name: str, schedstat: str) -> None:
    (folder / str(tid)).mkdir(exist_ok=True)
    (folder / str(tid) / "comm").write_text(name + "\n")
    (folder / str(tid) / "schedstat").write_text(schedstat)


def test_dilation_is_one_plus_delay_by_run_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = VcpuTimes(1, "CPU ")
    monkeypatch.setattr(times, "_folder", tmp_path)
    fake_thread(tmp_path, 10, "CPU 0/TCG", "300 100 5")
    fake_thread(tmp_path, 11, "CPU 1/TCG", "100 100 5")
    fake_thread(tmp_path, 12, "worker", "1 1000000 5")
    times.sample()
    assert times.dilation() == 1.5


def test_a_thread_that_ended_keeps_its_last_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = VcpuTimes(1, "CPU ")
    monkeypatch.setattr(times, "_folder", tmp_path)
    fake_thread(tmp_path, 10, "CPU 0/TCG", "100 300 5")
    times.sample()
    (tmp_path / "10" / "schedstat").unlink()
    fake_thread(tmp_path, 11, "CPU 1/TCG", "100 100 5")
    times.sample()
    assert times.dilation() == 3.0


def test_nothing_read_is_not_a_number() -> None:
    for times in (VcpuTimes(GONE, "CPU "), VcpuTimes(os.getpid(), None), VcpuTimes(os.getpid(), "no such thread")):
        times.sample()
        assert times.dilation() is None


def test_the_kernels_own_numbers_of_this_process() -> None:
    times = VcpuTimes(os.getpid(), Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/comm").read_text()[:3])
    times.sample()
    dilation = times.dilation()
    assert dilation is not None
    assert dilation >= 1
    peak = peak_memory_kib(os.getpid())
    assert peak is not None
    assert peak > 5000


def test_a_process_that_is_gone_has_no_peak() -> None:
    assert peak_memory_kib(GONE) is None
