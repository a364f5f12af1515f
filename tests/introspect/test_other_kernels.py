"""The same of other kernels than the default one as it is booted: moved by KASLR with page tables of 5 levels, where
it is, and built from the sources of 6.12, whose structures differ.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.host.deb import unpack
from ktstr.introspect.program import open_program
from ktstr.introspect.scx import read_events
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.listing import read_cache
from ktstr.kernels.resolve import resolve
from ktstr.kernels.spec import DEFAULT
from ktstr.pins.lock import read_lock
from ktstr.vm import kernel_args
from tests.e2e.conftest import UserProject
from tests.e2e.conftest import project as project
from tests.introspect import test_against_guest as against
from tests.introspect.guests import BSS, RODATA, Facts, Taken, everything, facts_in

pytestmark = [pytest.mark.e2e, pytest.mark.network, pytest.mark.timeout(900)]

EVERYWHERE: tuple[Callable[[Taken], None], ...] = (
    against.test_programs_are_those_of_bpftool_with_its_counts,
    against.test_verified_instructions_are_those_that_the_kernel_tells,
    against.test_a_scheduler_s_programs_are_told_by_the_callback_that_they_are,
    against.test_maps_are_those_of_bpftool,
    against.test_a_hash_has_the_entries_that_bpftool_dumps,
    against.test_an_array_has_the_elements_that_bpftool_dumps,
    against.test_a_per_cpu_array_has_a_value_for_each_cpu,
    against.test_struct_ops_point_to_the_scheduler_s_functions,
    against.test_the_scheduler_is_seen_as_loaded_and_well,
    against.test_runqueues_add_up,
    against.test_spinners_run_or_wait_in_the_scheduler_s_queue,
    against.test_the_log_is_the_kernel_s,
    against.test_a_task_that_sleeps_has_the_stack_of_what_it_waits_for,
    against.test_what_runs_is_known_by_the_registers,
)


def check_everything(taken: Taken) -> None:
    for check in EVERYWHERE:
        check(taken)
    for payload, name in ((BSS, ".bss"), (RODATA, ".rodata")):
        against.test_a_scheduler_s_globals_are_those_that_bpftool_dumps_by_name(taken, payload, name)


def compressed_kernel(folder: Path, lock: Path) -> Path:
    """The bzImage of the default kernel's package: what moves a kernel is before it."""
    cache = Cache(cache_root(os.environ))
    apt = Apt(cache.apt)
    resolution = resolve(DEFAULT, read_lock(lock), cache, apt)
    assert resolution.pin is not None
    for file in apt.download(resolution.pin.packages, folder / "debs").values():
        unpack(file, folder / "root", apt.cancel)
    (found,) = [*folder.glob("root/boot/vmlinuz-*"), *folder.glob("root/usr/lib/modules/*/vmlinuz")][:1]
    return found


def test_a_kernel_that_kaslr_moved_is_found_and_read(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = facts.guests.rest.parent / "ktstr.lock"
    kept = tuple(word for word in kernel_args._KERNEL_ARGS if word != "nokaslr")
    monkeypatch.setattr(kernel_args, "_KERNEL_ARGS", kept)
    program = everything()
    spec = facts.spec(program, kernel=compressed_kernel(tmp_path, lock))
    taken = facts.take(tmp_path / "guest", program, spec)
    guest = taken.open()
    assert guest.bias != 0
    assert guest.bias % (2 << 20) == 0
    unasked = open_program(taken.memory, taken.kernel)
    assert unasked.five_levels == guest.five_levels == bool(taken.registers[0]["cr4"] & 1 << 12)
    check_everything(taken)


def _built(cache: Cache) -> list[KernelEntry]:
    """Kernels of ours: a distribution's own 6.12 may have no sched_ext."""
    entries = [row.entry for row in read_cache(cache) if row.entry is not None]
    return [entry for entry in entries if entry.version.startswith("6.12.") and "debsrc" in entry.key]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_kernel_of_6_12_is_read_by_its_own_structures(facts: Facts, project: UserProject, tmp_path: Path) -> None:
    cache = Cache(cache_root(os.environ))
    if not (built := _built(cache)):
        done = project.doit("kernel_build", "kernel=debsrc:6.12", timeout=3000)
        assert done.returncode == 0, done.stderr
        built = _built(cache)
    entry = built[0]
    folder = tmp_path / "facts"
    folder.mkdir()
    taken = facts_in(folder, facts.guests, entry).take(tmp_path / "guest", everything())
    check_everything(taken)
    assert read_events(taken.open()).cpus == ()  # came with 6.15


@pytest.mark.slow
def test_every_symbol_of_kallsyms_is_where_the_symbol_table_of_the_same_file_has_it() -> None:
    """By nm(1), of kernels that were built here and so have both."""
    from ktstr.host.elf import opened
    from ktstr.kernels.kallsyms import kallsyms

    entries = [row.entry for row in read_cache(Cache(cache_root(os.environ))) if row.entry is not None]
    built = [entry for entry in entries if entry.facts["kconfig"] is not None]
    assert built, "no kernel that was built here is in the cache: doit kernel_build kernel=debsrc:6.12"
    for entry in built:
        listed = subprocess.run(["nm", str(entry.vmlinux)], capture_output=True, text=True, check=True).stdout
        known: dict[str, set[int]] = {}
        for line in listed.splitlines():
            words = line.split()
            if len(words) == 3:
                known.setdefault(words[2], set()).add(int(words[0], 16))
        with opened(entry.vmlinux) as elf:
            found = kallsyms(elf)
        assert len(found) > 20_000
        assert [row for row in found if row[0] not in known.get(row[1][1:], ())] == []
