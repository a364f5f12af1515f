"""A guest of the C VMM's, looked into on a real KVM: what is read is what its own kernel says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.host.cache import Cache, cache_root
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.maps import find_map, read_map
from ktstr.introspect.program import GuestProgram, open_program, read_kernel
from ktstr.introspect.runqueues import read_runqueues
from ktstr.introspect.scx import read_state
from ktstr.introspect.stacks import read_running
from ktstr.introspect.writes import watchdog_timeout
from ktstr.kernels.cache import read_entry
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    OWN_CGROUP,
    Hold,
    Payload,
    Program,
    Release,
    Run,
    Spawn,
    StartScheduler,
    Wait,
    Work,
    Worker,
    Write,
)  # fmt: skip
from ktstr.vm.kvm import KvmMachine
from ktstr.vm.machine import GuestSpec
from ktstr.vm.messages import decode_channel
from ktstr.vm.vmm_build import planned
from tests.e2e.programs import SCHEDULER, S, printed
from tests.introspect.guests import READY, STATS, is_ready
from tests.nested.guests import prepared

PAIR = Topology(1, 1, 2, 1)
SCX, MAPS, PROGS, LAST = range(4)


def program() -> bytes:
    """scx_ktstr with two spinners on it and maps of known contents; what is counted stands still at the end."""
    payloads = (
        Payload((SCHEDULER,)), Payload(("/bin/facts", "maps")), Payload(("/bin/facts", "programs")),
        Payload((f"/bin/{READY}",)),
    )  # fmt: skip
    work = Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(3)))
    ops = (
        Write(STATS, "1"), StartScheduler(SCX, 100 * S), Run(MAPS), Spawn(0), Release(), Hold(S // 2),
        Write(STATS, "0"), Run(PROGS), Wait(PROGS, 20 * S), Run(LAST), Hold(8 * S),
    )  # fmt: skip
    return encode(Program(0, 400 * S, works=(work,), payloads=payloads, ops=ops))


def test_a_guest_on_kvm_is_read_and_written_while_it_runs(tmp_path: Path) -> None:
    guests = prepared()
    entry = read_entry(guests.kernel.parent)
    kernel = read_kernel(entry)
    spec = GuestSpec(guests.kernel, (guests.image, guests.scheduler, guests.facts), PAIR, 512, program=program())
    machine = KvmMachine(planned(Cache(cache_root(os.environ)), os.environ))
    with machine.start(spec, tmp_path, 240, Cancel()) as guest:
        while not is_ready(guest, kernel):
            assert not guest.ends_within(0.2), guest.wait().end
        guest.pause()
        looked = open_program(guest.memory, kernel, guest.registers())
        state, rows, programs = read_state(looked, entry.hz), read_runqueues(looked, entry.hz), read_programs(looked)
        hashed, percpu = (entries_of(looked, name) for name in ("facts_hash", "facts_percpu"))
        running = read_running(looked, looked.registers)
        written = watchdog_timeout(looked, 9000, entry.hz or 250)
        guest.resume()
        result = guest.wait()
    assert (state.error, state.state, state.ops) == (None, "enabled", "ktstr")
    assert [row.error for row in rows] == [None, None]
    assert [stack.error for stack in running] == [None, None]
    assert written.holds
    record, error = decode_channel(result.channel.read_bytes())
    assert (error, result.end.reason) == (None, "clean")
    told = {each["id"]: each for each in map(json.loads, printed(record, PROGS).splitlines())}
    counted = ("verified_insns", "run_cnt", "run_time_ns")
    assert max(each["run_cnt"] for each in told.values()) > 10
    assert {each.id: tuple(getattr(each, name) for name in counted) for each in programs.programs} == {
        number: tuple(each[name] for name in counted) for number, each in told.items()
    }
    assert {number(key): number(value) for key, value in hashed.items()} == {k: 3 * k + 1 for k in range(300)}
    assert {key: [number(value) for value in values] for key, values in percpu.items()} == {
        i: [1000 * i + cpu for cpu in range(PAIR.cpus)] for i in range(2)
    }


def entries_of(program: GuestProgram, name: str) -> dict[Any, Any]:
    found = read_map(program, find_map(program, name))
    assert (found.error, found.truncated) == (None, False)
    return {entry.key: entry.value for entry in found.entries or ()}


def number(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")
