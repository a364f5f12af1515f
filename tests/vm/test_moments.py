"""The moments of a guest: none is missed or made up, and under counted instructions they are the same in each run."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.vm.moments import Gate, Given, Moment, in_real_time
from ktstr.vm.snapshot import Snapshot
from tests.vm.test_qemu import Lab, emulators_of, guest, spinners
from tests.vm.test_qemu import lab as lab  # the fixture
from tests.vm.test_qemu_park import opened, park, spec_of

PERIOD_NS = 100_000_000


class TestGate:
    def test_the_other_end_stands_still_until_the_next_moment_is_asked_for(self) -> None:
        gate = Gate()
        told = list[str]()

        def machine() -> None:
            with gate.theirs as end:
                for at in (5, 1 << 40):
                    end.send(at.to_bytes(8, "little"))
                    assert end.recv(1) == b"\1"
                    told.append(f"goes on after {at}")

        thread = threading.Thread(target=machine)
        thread.start()
        for moment in gate.moments():
            told.append(f"at {moment.at_ns}")
            time.sleep(0.05)
        thread.join()
        assert told == ["at 5", "goes on after 5", f"at {1 << 40}", f"goes on after {1 << 40}"]

    def test_a_machine_that_is_gone_has_no_more_moments(self) -> None:
        gate = Gate()
        gate.inherited()
        assert list(gate.moments()) == []

    def test_who_looks_no_more_lets_the_machine_go_on(self) -> None:
        gate = Gate()
        gate.theirs.send(bytes(8))
        moments = gate.moments()
        assert next(moments) == Moment(0)
        moments.close()  # type: ignore[attr-defined]
        assert gate.theirs.recv(1) == b""
        gate.close()

    def test_a_token_of_another_size_ends_it(self) -> None:
        gate = Gate()
        gate.theirs.send(b"garbage")
        assert list(gate.moments()) == []
        gate.close()


class TestRealTime:
    def test_moments_come_ten_times_a_second_until_the_guest_ends(self) -> None:
        started, given = time.monotonic(), (Given(1, 2),)

        def ends_within(seconds: float) -> bool:
            time.sleep(seconds)
            return time.monotonic() > started + 0.55

        moments = list(in_real_time(started, ends_within, lambda: given))
        assert 2 <= len(moments) <= 6
        assert all(b.at_ns - a.at_ns >= 0.05e9 for a, b in pairwise(moments))
        assert {moment.vcpus for moment in moments} == {given}

    def test_moments_that_were_missed_are_not_made_up_for(self) -> None:
        over = threading.Event()
        moments = in_real_time(time.monotonic(), over.wait, lambda: None)
        first = next(moments)
        time.sleep(0.35)
        second, third = next(moments), next(moments)
        assert second.at_ns - first.at_ns >= 0.3e9
        assert third.at_ns - second.at_ns >= 0.05e9

    def test_looking_takes_a_twentieth_of_a_cpu_at_most(self) -> None:
        moments = in_real_time(time.monotonic(), threading.Event().wait, lambda: None)
        next(moments)
        second = next(moments)
        time.sleep(0.02)
        assert next(moments).at_ns - second.at_ns >= 20 * 0.02e9


@pytest.mark.e2e
class TestCountedInstructions:
    @pytest.fixture(scope="class")
    @staticmethod
    def snapshot(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
        with opened(park(lab, spec_of(lab), tmp_path_factory.mktemp("parked"))) as made:
            yield made

    def run(self, lab: Lab, folder: Path, snapshot: Snapshot | None, *, watched: bool) -> tuple[list[str], bytes]:
        """Each moment, with a clone's RAM, and what the guest said."""
        folder.mkdir()
        spec = replace(spec_of(lab, spinners(4)), watched=watched, parks=snapshot is not None)
        seen = []
        with lab.machine("icount").start(spec, folder, 240, Cancel(), snapshot=snapshot) as running:
            for moment in running.moments():
                digest = hashlib.sha256()
                for piece in running.memory.layout.pieces if snapshot is not None else ():
                    digest.update(running.memory.read(piece.address, piece.size))
                seen.append(f"{moment.at_ns} {digest.hexdigest()}")
            result = running.wait()
        assert (result.end.reason, result.end.detail) == ("clean", "")
        assert guest(result).ended
        return seen, result.channel.read_bytes()

    def test_every_byte_of_ram_is_the_same_at_each_moment_and_looking_changes_nothing(
        self, lab: Lab, snapshot: Snapshot, tmp_path: Path
    ) -> None:
        first, second = (self.run(lab, tmp_path / name, snapshot, watched=True) for name in "ab")
        assert first[0] == second[0]
        assert first[1] == second[1]
        assert self.run(lab, tmp_path / "c", snapshot, watched=False) == ([], first[1])
        at = [int(line.split()[0]) for line in first[0]]
        assert len(at) >= 4
        assert all(ns % PERIOD_NS == 0 for ns in at[1:])
        assert all(b - a == PERIOD_NS for a, b in pairwise(at[1:]))

    def test_a_machine_that_boots_is_seen_from_its_first_instruction_on(self, lab: Lab, tmp_path: Path) -> None:
        seen, said = self.run(lab, tmp_path / "a", None, watched=True)
        assert [int(line.split()[0]) for line in seen[:3]] == [0, PERIOD_NS, 2 * PERIOD_NS]
        assert self.run(lab, tmp_path / "b", None, watched=False) == ([], said)

    def test_who_looks_no_more_lets_it_run_to_its_end(self, lab: Lab, snapshot: Snapshot, tmp_path: Path) -> None:
        spec = replace(spec_of(lab, spinners(2)), watched=True)
        with lab.machine("icount").start(spec, tmp_path, 240, Cancel(), snapshot=snapshot) as running:
            moments = running.moments()
            assert next(moments).at_ns > 0
            assert [len(hex(each["rip"])) for each in running.registers()] == [18, 18]  # in the kernel, as is idle
            moments.close()  # type: ignore[attr-defined]
            assert running.wait().end.reason == "clean"

    def test_one_that_is_closed_while_it_stands_still_leaves_no_process(
        self, lab: Lab, snapshot: Snapshot, tmp_path: Path
    ) -> None:
        spec = replace(spec_of(lab, spinners(2)), watched=True)
        with lab.machine("icount").start(spec, tmp_path, 240, Cancel(), snapshot=snapshot) as running:
            moments = running.moments()
            next(moments)
        assert running.ends_within(0)
        assert list(moments) == []
        assert emulators_of(tmp_path) == []
