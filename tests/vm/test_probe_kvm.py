"""Whether KVM works here, what is remembered of it, and that nothing it does stops the front end.

``tests/nested/inside/test_probe.py`` runs the same guest where KVM is known to work.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.vm import probe_kvm
from ktstr.vm.probe_kvm import Kvm, Run
from tests.host.waits import cancelled_soon, failing_tool, hanging_tool

SOURCE = (resources.c_dir() / "probe" / "probe.c").read_text(encoding="ascii")
STEPS = re.findall(r'say\("(.*)\\n"\);', SOURCE)
WORKS = Kvm(True, "ran to its end")
BROKEN = Kvm(False, "stopped", "a fix")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("probe") / "guest"
    probe_kvm.build_guest(out, os.environ)
    return out


def test_no_device_names_the_modules(tmp_path: Path) -> None:
    found = probe_kvm.probe(tmp_path / "kvm")
    assert found.usable is False
    assert "modprobe kvm" in (found.fix or "")


def test_a_device_that_is_no_kvm_is_not_usable() -> None:
    found = probe_kvm.probe(Path("/dev/null"))
    assert found.usable is False
    assert "is no KVM" in found.detail


def test_a_real_device_is_never_called_usable_before_a_guest_ran() -> None:
    found = probe_kvm.probe()
    assert found.usable is (None if os.access(probe_kvm.DEVICE, os.R_OK | os.W_OK) else False)


# The guest's file


def test_the_guest_is_a_small_kernel_loaded_above_the_first_mebibyte(guest: Path) -> None:
    """By the System V gABI: file header, then program headers."""
    data = guest.read_bytes()
    kind, machine, _, entry, offset = struct.unpack_from("<HHIQQ", data, 16)
    size, count = struct.unpack_from("<HH", data, 54)
    assert (data[:6], kind, machine, size) == (b"\x7fELF\x02\x01", 2, 62, 56)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + size * i) for i in range(count)]
    loaded = [(paddr, memsz) for kind, _, _, _, paddr, _, memsz, _ in segments if kind == 1]
    assert min(paddr for paddr, _ in loaded) >= 1 << 20
    assert sum(memsz for _, memsz in loaded) < 16 << 10
    assert any(paddr <= entry < paddr + memsz for paddr, memsz in loaded)


def test_the_guest_is_all_the_code_a_stock_kernel_needs_of_kvm(guest: Path) -> None:
    done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", guest], capture_output=True, text=True, check=True)
    names = re.findall(r"^ +[0-9a-f]+:\t(?:lock )?(\w+)", done.stdout, re.MULTILINE)
    used = {name.removesuffix("q") for name in names}  # binutils disagree on which of iretq, sysretq have it
    assert used >= {"cpuid", "rdmsr", "wrmsr", "lgdt", "lidt", "ltr", "invlpg", "int3", "ud2", "iret", "sti", "hlt"}
    assert used >= {"in", "out", "cmpxchg16b", "fxsave", "swapgs", "syscall", "sysret"}


def test_without_a_compiler_the_fix_installs_it(tmp_path: Path) -> None:
    found = probe_kvm.judge({"PATH": str(tmp_path), "KTSTR_CACHE_DIR": str(tmp_path)})
    if probe_kvm.probe().usable is False:
        assert found == probe_kvm.probe()
    else:
        assert found.usable is None
        assert "apt-get install" in (found.fix or "")


# Verdicts


def test_only_a_guest_that_turned_itself_off_proves_kvm() -> None:
    end = Run("power_off", "the guest turned itself off", "".join(f"{step}\n" for step in STEPS))
    assert probe_kvm.verdict(end).usable is True
    for reason in ("reset", "triple_fault", "internal_error", "fail_entry", "deadline", "stopped", "died", "refused"):
        assert probe_kvm.verdict(Run(reason, "x", end.console)).usable is False


def test_the_step_it_stopped_at_is_named_with_the_reason() -> None:
    run = Run("internal_error", "cannot emulate (suberror 1); rip 0x10", "port I/O\ncpuid\n")
    assert probe_kvm.verdict(run).detail == (
        "KVM here runs no stock kernel: the probe guest stopped at 'cpuid': cannot emulate (suberror 1)"
    )
    silent = probe_kvm.verdict(Run("triple_fault", "triple fault on vCPU 0"))
    assert silent.detail.endswith("stopped before its first step: triple fault on vCPU 0")
    assert probe_kvm.verdict(Run("reset", "x", "cpuid\n")).detail.endswith("stopped at 'cpuid': with a wrong result")
    assert probe_kvm.verdict(Run("deadline", "x", "cpuid\n")).detail.endswith(
        "stopped at 'cpuid': not done after 900 ms"
    )


def test_a_machine_that_is_refused_keeps_the_fix() -> None:
    found = probe_kvm.verdict(Run("refused", "KVM_CREATE_VM: Device or resource busy", fix="end other hypervisors"))
    assert found == Kvm(
        False, "no machine can be made here: KVM_CREATE_VM: Device or resource busy", "end other hypervisors"
    )


# The child


def _run(code: str, start_s: float = 20.0) -> tuple[int | None, str]:
    with tempfile.TemporaryFile() as console:
        return probe_kvm.run_child([sys.executable, "-c", code, str(console.fileno())], console, start_s)


def test_a_child_that_hangs_is_killed() -> None:
    began = time.monotonic()
    assert _run("import time; print('begun', flush=True); time.sleep(60)", 0.5) == (None, "")
    assert time.monotonic() - began < 10


def test_a_child_that_hangs_ends_by_the_cancel() -> None:
    cancel = Cancel()
    with tempfile.TemporaryFile() as console, cancelled_soon(cancel, 1.0):
        probe_kvm.run_child([sys.executable, "-c", "import time; time.sleep(60)"], console, 60.0, cancel)


def test_a_full_disk_is_not_called_a_guest_that_does_not_compile(tmp_path: Path) -> None:
    cc = failing_tool(tmp_path / "cc", "ld: final link failed: No space left on device")
    with pytest.raises(HostError, match="the disk is full") as caught:
        probe_kvm.build_guest(tmp_path / "probe/guest", {"PATH": os.environ["PATH"], "CC": cc})
    assert "TMPDIR" in str(caught.value.fix)


def test_a_child_that_closes_its_output_and_stays_is_killed() -> None:
    assert _run("import os, time; os.close(1); os.close(2); time.sleep(60)", 2.0) == (None, "")


def test_a_compiler_that_hangs_ends_by_the_cancel(tmp_path: Path) -> None:
    cancel, environ = Cancel(), {"PATH": os.environ["PATH"], "CC": hanging_tool(tmp_path / "cc")}
    with cancelled_soon(cancel):
        probe_kvm.build_guest(tmp_path / "guest", environ, cancel)


@pytest.mark.skipif(probe_kvm.probe().usable is False, reason="without a KVM nothing is tried")
def test_a_cancel_is_no_verdict_on_kvm(tmp_path: Path) -> None:
    cancel, cc = Cancel(), hanging_tool(tmp_path / "cc", "gcc")
    with cancelled_soon(cancel):
        probe_kvm.judge({"PATH": os.environ["PATH"], "CC": cc, "KTSTR_CACHE_DIR": str(tmp_path)}, cancel=cancel)


def test_the_last_line_and_the_status_of_a_child_are_kept() -> None:
    assert _run("print('one'); print('two'); raise SystemExit(3)") == (3, "two")
    assert _run("import os; os.kill(os.getpid(), 9)") == (-9, "")


def test_what_a_dead_child_had_written_to_the_console_stays() -> None:
    with tempfile.TemporaryFile() as console:
        code = "import os, sys; os.write(int(sys.argv[1]), b'cpuid'); os.kill(os.getpid(), 14)"
        status, _ = probe_kvm.run_child([sys.executable, "-c", code, str(console.fileno())], console)
        console.seek(0)
        assert (status, console.read()) == (-14, b"cpuid")


def test_an_extension_that_cannot_be_loaded_is_no_machine(tmp_path: Path, guest: Path) -> None:
    broken = tmp_path / "_ktstr_vmm.abi3.so"
    broken.write_bytes(b"\x7fELF")
    run = probe_kvm.run_guest(broken, guest)
    assert run.reason == "refused"
    assert str(broken) in run.text
    assert not run.certain


# What is remembered


def test_a_verdict_is_remembered_for_its_key_only(tmp_path: Path) -> None:
    place = tmp_path / "new" / "kvm-probe.json"
    assert probe_kvm.recall(place, "k") is None
    for found in (WORKS, BROKEN):
        probe_kvm.remember(place, "k", found, None)
        assert probe_kvm.recall(place, "k") == found
        assert probe_kvm.recall(place, "other boot") is None
    assert [path.name for path in place.parent.iterdir()] == ["kvm-probe.json"]


def test_a_verdict_of_a_busy_host_is_forgotten(tmp_path: Path) -> None:
    place, now = tmp_path / "kvm-probe.json", time.time()
    for until, held in ((now + 60, True), (now - 1, False), (now + 10 * probe_kvm.PATIENCE_S, False)):
        probe_kvm.remember(place, "k", BROKEN, until)
        assert (probe_kvm.recall(place, "k") is not None) is held
    assert not Run("deadline", "x").certain
    assert Run("internal_error", "x").certain


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"\xff", b"{}", b'{"key":"k","until":null,"kvm":{"usable":1,"detail":"x"}}',
     b'{"key":"k","until":"x","kvm":{"usable":true,"detail":"x"}}', b'{"key":"k","until":null,"kvm":{"odd":true}}',
     b'{"key":"k","until":null,"kvm":{"usable":true,"detail":[]}}'],
)  # fmt: skip
def test_a_damaged_memory_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "kvm-probe.json").write_bytes(data)
    assert probe_kvm.recall(tmp_path / "kvm-probe.json", "k") is None


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    probe_kvm.remember(tmp_path / "file" / "kvm-probe.json", "k", WORKS, None)
    assert (tmp_path / "file").read_text() == ""
