"""The binding of the C VMM over a library that is ours: what C is told, and who may be in it when a machine goes."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI

from ktstr import resources
from ktstr.config.topology import Topology
from ktstr.vm.vmm import Piece, Vmm, VmmConfig, VmmError, VmmExit
from ktstr.vm.vmm_build import HEADER, declarations

MACHINE = 0x1000
CONFIG = VmmConfig(Path("/kernel"), Topology(1, 1, 2, 1), 64)


class Lib:
    """Stands for the extension's functions: a machine that waits for its end, and tells of calls without one."""

    VMM_VENDOR_HOST = 0

    def __init__(self, ffi: FFI) -> None:
        self.ffi = ffi
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.destroyed = 0
        self.misused: list[str] = []
        self.snapshot: tuple[int, int] | None = None

    def vmm_create(self, config: Any, _error: Any) -> Any:
        self.snapshot = config.snapshot_memory_fd, config.snapshot_state_fd
        return self.ffi.cast("struct vmm *", MACHINE)

    def vmm_destroy(self, _vmm: Any) -> None:
        with self.lock:
            if self.inside or self.destroyed:
                self.misused.append(f"destroyed with {self.inside} calls inside, {self.destroyed} times before")
            self.destroyed += 1

    def vmm_stop(self, _vmm: Any) -> None:
        self.ended.set()

    def vmm_wait(self, _vmm: Any, timeout: int, found: Any) -> int:
        ended = self.ended.wait(None if timeout < 0 else timeout / 1000)
        time.sleep(0.01)  # C has still to leave its locks
        found.reason = 6
        return int(ended)

    def vmm_pieces(self, _vmm: Any, found: Any, capacity: int) -> int:
        rows = ((0, 3 << 30, 0x7F0000000000, 0), (4 << 30, 1 << 30, 0x7F00C0000000, 1))
        for i, row in enumerate(rows[:capacity]):
            found[i].address, found[i].bytes, found[i].node = row[0], row[1], row[3]
            found[i].host = self.ffi.cast("void *", row[2])
        return len(rows)

    def __getattr__(self, name: str) -> Callable[..., int]:
        """All others take a moment and give 0."""
        if not name.startswith("vmm_"):
            raise AttributeError(name)

        def brief(*_: Any) -> int:
            time.sleep(0.001)
            return 0

        return brief


class Library:
    """As ``load_vmm`` gives it. Each call is watched: it has to have a machine."""

    def __init__(self) -> None:
        self.ffi = FFI()
        self.ffi.cdef(declarations((resources.c_dir() / "include" / HEADER).read_text(encoding="ascii")))
        self.state = Lib(self.ffi)
        self.lib = self

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.state, name)
        if name in ("vmm_create", "vmm_destroy") or not callable(function):
            return function

        def watched(vmm: Any, *args: Any) -> Any:
            state = self.state
            with state.lock:
                state.inside += 1
                if state.destroyed or int(self.ffi.cast("uintptr_t", vmm)) != MACHINE:
                    state.misused.append(f"{name} of a machine that is gone")
            try:
                return function(vmm, *args)
            finally:
                with state.lock:
                    state.inside -= 1

        return watched


CALLS: dict[str, Callable[[Vmm], object]] = {
    "start": lambda vmm: vmm.start(),
    "wait": lambda vmm: vmm.wait(None),
    "wait_a_moment": lambda vmm: vmm.wait(0.001),
    "stop": lambda vmm: vmm.stop(),
    "pause": lambda vmm: vmm.pause(),
    "resume": lambda vmm: vmm.resume(),
    "kick": lambda vmm: vmm.kick(),
    "registers": lambda vmm: vmm.registers(0),
    "times": lambda vmm: vmm.times(0),
    "stats": lambda vmm: vmm.stats(None),
    "pieces": lambda vmm: vmm.pieces(),
    "read": lambda vmm: vmm.read(0, 4),
    "write": lambda vmm: vmm.write(0, b"data"),
    "send": lambda vmm: vmm.send(b"data"),
    "type": lambda vmm: vmm.type(b"data"),
    "snapshot": lambda vmm: vmm.snapshot(3, 4),
    "console_output": lambda vmm: vmm.console_output(),
    "channel_output": lambda vmm: vmm.channel_output(),
    "warnings": lambda vmm: vmm.warnings(),
}


def test_every_call_is_tried_here() -> None:
    public = {name for name in vars(Vmm) if not name.startswith("_")} - {"close"}
    assert public == CALLS.keys() - {"wait_a_moment"}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_machine_refuses_each_call(name: str) -> None:
    library = Library()
    vmm = Vmm(library, CONFIG)
    vmm.close()
    vmm.close()
    with pytest.raises(VmmError, match="the machine is closed") as caught:
        CALLS[name](vmm)
    assert caught.value.errno == errno.EBADF
    assert library.state.misused == [] and library.state.destroyed == 1


@pytest.mark.parametrize("name", CALLS)
def test_close_waits_for_the_calls_of_other_threads(name: str) -> None:
    """They go on calling until they are refused; those that block come back as the machine is stopped."""
    library = Library()
    vmm = Vmm(library, CONFIG)
    begun = threading.Barrier(5)

    def use() -> int:
        begun.wait(10)
        for _ in range(100_000):
            try:
                CALLS[name](vmm)
            except VmmError as err:
                return err.errno
        return 0

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use) for _ in range(4)]
        begun.wait(10)
        time.sleep(0.02)
        vmm.close()
        assert library.state.destroyed == 1
        assert [user.result(30) for user in users] == [errno.EBADF] * 4
    assert library.state.misused == []


def test_who_waits_without_end_learns_that_it_was_stopped() -> None:
    library = Library()
    vmm = Vmm(library, CONFIG)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vmm.wait, None)
        while not library.state.inside:
            time.sleep(0.001)
        vmm.close()
        assert waiting.result(10) == VmmExit("stopped", 0, 0, "")


def test_of_many_that_close_one_destroys_and_all_find_it_gone() -> None:
    library = Library()
    vmm = Vmm(library, CONFIG)
    begun = threading.Barrier(8)

    def close() -> int:
        begun.wait(10)
        vmm.close()
        return library.state.destroyed

    with ThreadPoolExecutor(8) as pool:
        closing = [pool.submit(close) for _ in range(8)]
        assert [one.result(10) for one in closing] == [1] * 8
    assert library.state.misused == []


@pytest.mark.parametrize(("snapshot", "told"), [(None, (-1, -1)), ((0, 5), (0, 5)), ((7, 0), (7, 0))])
def test_descriptor_0_is_a_snapshot_and_none_is_minus_1(
    snapshot: tuple[int, int] | None, told: tuple[int, int]
) -> None:
    library = Library()
    Vmm(library, VmmConfig(None, Topology(1, 1, 1, 1), 64, snapshot=snapshot)).close()
    assert library.state.snapshot == told


def test_pieces_tell_where_memory_is_on_both_sides() -> None:
    with Vmm(Library(), CONFIG) as vmm:
        assert vmm.pieces() == (Piece(0, 3 << 30, 0x7F0000000000, 0), Piece(4 << 30, 1 << 30, 0x7F00C0000000, 1))
