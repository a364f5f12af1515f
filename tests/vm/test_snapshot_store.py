"""The store of parked machines: made once, verified, under a limit, and right after whatever happened to it."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ktstr.cancel import Cancelled
from ktstr.errors import HostError
from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.vm.snapshot import Parked, Snapshot, Unparked
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import PAGE, content, contents, ended, memory_files, parked, piece

KEY = "a" * 64
NAME = "7.2/tiny/eevdf/icount"
ROOT = Path(__file__).parents[2]


class Maker:
    """Makes machines, and counts them."""

    def __init__(self, machine: Callable[[], Parked | Unparked] = parked) -> None:
        self.count = 0
        self._machine = machine

    def __call__(self) -> Parked | Unparked:
        self.count += 1
        return self._machine()


def never() -> Parked:
    pytest.fail("made, though it was there")


class Stores:
    """Stores over one cache, as processes would have them; what each notes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []
        self._opened = ExitStack()

    def __call__(self, limit_bytes: int = 1 << 30, keep_open: int = 2) -> SnapshotStore:
        store = SnapshotStore(Cache(self.root), limit_bytes, keep_open, self.notes.append)
        self._opened.callback(store.close)
        return store

    def close(self) -> None:
        self._opened.close()

    def entries(self) -> list[str]:
        folder = self.root / "machines"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    found = Stores(tmp_path / "cache")
    before = memory_files()
    yield found
    found.close()
    assert memory_files() == before


def ram(found: Snapshot | Unparked) -> list[bytes]:
    assert isinstance(found, Snapshot)
    return [content(fd) for fd in found.memory]


RAM = contents(parked())


def test_it_is_made_once_then_opened_and_the_same_both_times(stores: Stores) -> None:
    make = Maker()
    made, later = stores(), stores()
    assert not made.is_made(KEY)
    with made.holding(KEY, make, NAME) as first, made.holding(KEY, never, NAME) as again:
        assert again is first
        assert made.metadata(KEY) == stores.root / "machines" / KEY / "metadata.json"
        assert made.is_made(KEY)
        with later.holding(KEY, never, NAME) as second:
            assert ram(first) == ram(second) == RAM
            assert isinstance(first, Snapshot) and isinstance(second, Snapshot)
            assert first.facts == second.facts
            assert content(first.state) == content(second.state) == b"state 1"
            assert (second.channel, second.console) == (b"channel", b"console")
            for fd in (*first.memory, first.state, *second.memory, second.state):
                with pytest.raises(PermissionError):
                    os.pwrite(fd, b"x", 0)
    assert make.count == 1
    assert stores.notes == []


def test_nobody_holds_it_and_it_stays_open_until_two_others_were_used(stores: Stores) -> None:
    store = stores(keep_open=2)
    found: dict[str, Snapshot] = {}
    for key in "abca":
        with store.holding(key, parked, NAME) as machine:
            assert isinstance(machine, Snapshot)
            found.setdefault(key, machine)
            opened = machine
    assert opened is not found["a"], "a was closed for c, and opened again for the last"
    with store.holding("c", never, NAME) as machine:
        assert machine is found["c"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(found["b"].state)


def test_what_is_held_stays_open_however_many_are_used_and_after_the_store_is_closed(stores: Stores) -> None:
    store = stores(keep_open=1)
    with store.holding(KEY, parked, NAME) as machine:
        for key in "bcd":
            with store.holding(key, parked, NAME):
                pass
        store.close()
        assert ram(machine) == RAM
    assert isinstance(machine, Snapshot)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(machine.state)


@pytest.mark.parametrize("name", ["metadata.json", "ram-0.zst", "state", "console.log"])
def test_a_damaged_one_is_said_and_made_anew_while_somebody_holds_it(stores: Stores, name: str) -> None:
    holder, other, third = stores(), stores(), stores()
    with holder.holding(KEY, parked, NAME) as held:
        file = stores.root / "machines" / KEY / name
        os.truncate(file, file.stat().st_size // 2)
        make = Maker()
        with other.holding(KEY, make, NAME) as machine:
            assert ram(machine) == RAM
        assert make.count == 1
        assert ram(held) == RAM
    (note,) = stores.notes
    assert note.startswith(f"{stores.root}/machines/{KEY}: damaged: {name}")
    with third.holding(KEY, never, NAME) as machine:
        assert ram(machine) == RAM


def test_another_format_is_made_anew(stores: Stores) -> None:
    with stores().holding(KEY, parked, NAME):
        pass
    metadata = stores.root / "machines" / KEY / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"format": 1', '"format": 9'))
    make = Maker()
    with stores().holding(KEY, make, NAME):
        assert make.count == 1
    assert "the format 9, expected 1" in stores.notes[0]


@pytest.mark.parametrize("machine", [ended("panic"), ended("clean"), Unparked(None, "no port I/O", b"c", b"d")])
def test_a_machine_that_can_never_be_parked_is_tried_once(stores: Stores, machine: Unparked) -> None:
    with stores().holding(KEY, lambda: machine, NAME) as found:
        assert found == machine
    with stores().holding(KEY, never, NAME) as found:
        assert found == machine


def test_an_end_that_says_nothing_of_the_machine_stands_for_its_store_alone(stores: Stores) -> None:
    store = stores()
    for make in (lambda: ended("host_timeout"), never):
        with store.holding(KEY, make, NAME) as found:
            assert found == ended("host_timeout")
    assert not store.is_made(KEY)
    with stores().holding(KEY, parked, NAME) as found:
        assert ram(found) == RAM


def test_what_was_cancelled_stands_for_nobody(stores: Stores) -> None:
    store = stores()
    with store.holding(KEY, lambda: ended("killed"), NAME) as found:
        assert found == ended("killed")
    with store.holding(KEY, parked, NAME) as found:
        assert ram(found) == RAM


def test_what_real_time_made_of_a_machine_is_not_stored(stores: Stores) -> None:
    with stores().holding(KEY, lambda: replace(ended("panic"), real_time=True), NAME) as found:
        assert isinstance(found, Unparked)
    with stores().holding(KEY, parked, NAME) as found:
        assert ram(found) == RAM


def test_a_maker_that_raises_leaves_nothing_and_the_next_one_makes(stores: Stores) -> None:
    def breaks() -> Parked:
        raise RuntimeError("no emulator")

    store = stores()
    with pytest.raises(RuntimeError, match="no emulator"), store.holding(KEY, breaks, NAME):
        pass
    assert stores.entries() == []
    with store.holding(KEY, parked, NAME) as found:
        assert ram(found) == RAM


def test_ram_that_nobody_can_keep_is_closed(stores: Stores) -> None:
    machine = Parked("booted", (piece({}), piece({}, PAGE + 1)), b"", b"", b"")
    with pytest.raises(ValueError, match="whole pages"), stores().holding(KEY, lambda: machine, NAME):
        pass
    for fd in machine.memory:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    assert stores.entries() == []


def test_a_limit_on_files_is_an_error_that_says_so(stores: Stores) -> None:
    before = memory_files()
    machine = parked()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(HostError, match="File too large") as told, stores().holding(KEY, lambda: machine, NAME):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.fix is not None and "ulimit -f" in told.value.fix
    assert memory_files() == before


def run_all(*work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(one) for one in work]:
            done.result(60)


def test_threads_make_it_once_and_others_do_not_wait(stores: Stores) -> None:
    store = stores()
    other_done = threading.Event()

    def slowly() -> Parked:
        assert other_done.wait(30), "the other key waited for this one"
        return parked()

    make = Maker(slowly)
    found: list[Snapshot | Unparked] = []

    def want() -> None:
        with store.holding(KEY, make, NAME) as machine:
            found.append(machine)
            assert ram(machine) == RAM

    def want_other() -> None:
        with store.holding("b", parked, NAME):
            other_done.set()

    run_all(*[want] * 4, want_other)
    assert make.count == 1
    assert len(found) == 4 and len({id(machine) for machine in found}) == 1


def test_two_stores_make_it_once(stores: Stores) -> None:
    def slowly() -> Parked:
        time.sleep(0.3)
        return parked()

    make = Maker(slowly)

    def want() -> None:
        with stores().holding(KEY, make, NAME) as machine:
            assert ram(machine) == RAM

    run_all(want, want)
    assert make.count == 1


@pytest.mark.parametrize("one_process", [True, False])
def test_whoever_waits_for_it_can_be_interrupted(stores: Stores, one_process: bool) -> None:
    store = stores()
    waiting = store if one_process else stores()
    began, interrupted = threading.Event(), threading.Event()

    def slowly() -> Parked:
        began.set()
        assert interrupted.wait(30), "the waiting thread did not end"
        return parked()

    def make() -> None:
        with store.holding(KEY, slowly, NAME) as machine:
            assert ram(machine) == RAM, "what was made is not lost"

    def wait() -> None:
        assert began.wait(30)
        threading.Timer(0.2, waiting.cache.cancel.set).start()
        with pytest.raises(Cancelled), waiting.holding(KEY, never, NAME):
            pass
        interrupted.set()

    run_all(make, wait)
    assert interrupted.is_set()
    with pytest.raises(Cancelled), waiting.holding("b", never, NAME):
        pass
    with stores().holding(KEY, never, NAME) as machine:
        assert ram(machine) == RAM


def test_many_threads_with_many_machines_get_each_its_own(stores: Stores) -> None:
    store = stores(keep_open=1)
    expected = {key: contents(parked(number, 20)) for number, key in enumerate("abcde")}
    makers = {key: Maker(partial(parked, number, 20)) for number, key in enumerate("abcde")}

    def use(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            key = rng.choice("abcde")
            with store.holding(key, makers[key], NAME) as machine:
                assert ram(machine) == expected[key]

    run_all(*(partial(use, seed) for seed in range(6)))
    assert {key: maker.count for key, maker in makers.items()} == dict.fromkeys("abcde", 1)


def filled(stores: Stores, key: str, count: int, limit: int = 1 << 30) -> int:
    """A stored machine of ``count`` pages; its size on disk."""
    with stores(limit).holding(key, lambda: parked(count, count), NAME):
        pass
    return disk_bytes(stores.root / "machines" / key)


def test_the_longest_unused_go_first_but_none_in_use(stores: Stores) -> None:
    size = filled(stores, "a", 100)
    for number, key in enumerate("bcd"):
        filled(stores, key, 100)
        os.utime(stores.root / "machines" / key, (number + 1, number + 1))
    os.utime(stores.root / "machines" / "a", (0, 0))
    with stores().holding("b", never, NAME):  # used now: the newest
        pass
    with stores().holding("a", never, NAME):
        os.utime(stores.root / "machines" / "a", (0, 0))
        filled(stores, "e", 100, limit=3 * size + size // 2)
        assert stores.entries() == ["a", "b", "e"]
    filled(stores, "f", 100, limit=size + size // 2)
    assert stores.entries() == ["f"]


def test_one_that_is_over_the_limit_alone_is_used_and_not_kept(stores: Stores) -> None:
    size = filled(stores, "small", 20)
    store = stores(limit_bytes=2 * size)
    make = Maker()
    with store.holding(KEY, make, NAME) as machine:
        assert ram(machine) == RAM
        assert isinstance(machine, Snapshot) and machine.facts.data_bytes == 303 * PAGE
    with store.holding(KEY, make, NAME):
        assert make.count == 1, "it is open"
    assert stores.entries() == ["small"], "nothing went for what was not kept"
    (note,) = stores.notes
    assert f"the machine {NAME} takes 1." in note and "the limit for all machines is" in note


IN_FULL = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ktstr.host.cache import Cache
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import contents, parked, content
notes = []
store = SnapshotStore(Cache(Path(sys.argv[1])), on_note=notes.append)
count = 0
def make():
    global count
    count += 1
    return parked()
for _ in range(2):
    with store.holding("k", make, "the/one") as machine:
        assert [content(fd) for fd in machine.memory] == contents(parked())
print(count, store.is_made("k"), [p.name for p in (Path(sys.argv[1]) / "machines").glob("*")])
print(*notes, sep="\\n")
"""


def in_namespace(mount: str, cache: Path) -> list[str]:
    """The lines that IN_FULL prints with something else mounted as its cache."""
    script = f'{mount} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", IN_FULL, str(cache), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("size", ["4k", "64k", "512k"])
def test_on_a_full_disk_the_machine_is_used_and_the_disk_named(tmp_path: Path, size: str) -> None:
    count, *notes = in_namespace(f"mount -t tmpfs -o size={size} none {tmp_path}", tmp_path)
    assert count == "1 False []"
    assert notes == [f"{tmp_path}/machines/k: the disk is full; the machine the/one is not kept"]


def test_in_a_cache_that_cannot_be_written_the_machine_is_used(tmp_path: Path) -> None:
    count, *notes = in_namespace(f"mount -t tmpfs -o ro none {tmp_path}", tmp_path)
    assert count == "1 False []"
    assert len(notes) == 1 and "Read-only file system" in notes[0]


def test_a_file_in_the_place_of_the_class_is_named(stores: Stores) -> None:
    stores.root.mkdir()
    (stores.root / "machines").write_text("")
    with stores().holding(KEY, parked, NAME) as machine:
        assert ram(machine) == RAM
    (note,) = stores.notes
    assert "cannot be written: Not a directory" in note or "File exists" in note


def test_what_killed_processes_left_goes_with_the_next_that_is_stored(stores: Stores) -> None:
    folder = stores.root / "machines"
    for name in (f".tmp-{KEY}-1", ".tmp-other-2", ".tmp-other-2-old", ".tmp-..-3", ".not-ours"):
        (folder / name).mkdir(parents=True)
        (folder / name / "ram-0.zst").write_bytes(b"half")
    with Cache(stores.root).writing("machines", "other"):
        filled(stores, KEY, 10)
        assert stores.entries() == [".not-ours", ".tmp-..-3", ".tmp-other-2", ".tmp-other-2-old", KEY], "at work"
    filled(stores, "b", 10)
    assert stores.entries() == [".not-ours", ".tmp-..-3", KEY, "b"]


def test_a_key_that_is_no_folder_name_is_a_mistake(stores: Stores) -> None:
    with pytest.raises(ValueError, match="no cache key"), stores().holding("../x", parked, NAME):
        pass


VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ktstr.host.cache import Cache
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import parked
print("ready", flush=True)
number = 0
while True:  # make, open and remove, until killed
    number += 1
    for keep_open in (0, 0):
        store = SnapshotStore(Cache(Path(sys.argv[1])), 3 << 20, keep_open, print)
        with store.holding(f"k{number % 4}", lambda: parked(number % 4, 200), "x"):
            pass
"""


def test_kill_9_at_any_moment_leaves_nothing_wrong(stores: Stores) -> None:
    rng = random.Random(11)
    expected = {number: contents(parked(number, 200)) for number in range(4)}
    for _ in range(20):
        command = [sys.executable, "-c", VICTIM, str(stores.root), str(ROOT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None and victim.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.02, 0.3))
            victim.kill()
            assert victim.stdout.read() == "", "it found something damaged"
        store = stores(3 << 20)
        for number in range(4):
            with store.holding(f"k{number}", partial(parked, number, 200), NAME) as found:
                assert ram(found) == expected[number]
        store.close()
    filled(stores, "last", 10, 3 << 20)
    assert not any(name.startswith(".") for name in stores.entries())
    assert disk_bytes(stores.root / "machines") <= 3 << 20
    assert stores.notes == []


RIVAL = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from ktstr.host.cache import Cache
from ktstr.vm.snapshot_store import SnapshotStore
from tests.vm.parked import parked
def make():
    print("made", flush=True)
    time.sleep(0.5)
    return parked()
with SnapshotStore(Cache(Path(sys.argv[1])), on_note=print).holding("k", make, "x") as found:
    print(found.facts.ram_digest)
"""


def test_processes_make_it_once(stores: Stores) -> None:
    command = [sys.executable, "-c", RIVAL, str(stores.root), str(ROOT)]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [line for rival in rivals for line in rival.communicate(timeout=60)[0].splitlines()]
    assert [rival.returncode for rival in rivals] == [0, 0, 0]
    assert lines.count("made") == 1
    assert len(lines) == 4 and len({line for line in lines if line != "made"}) == 1


def test_a_host_error_of_the_maker_is_no_matter_of_the_disk(stores: Stores) -> None:
    def fails() -> Parked:
        raise HostError("the emulator is missing", fix="doit tools")

    with pytest.raises(HostError, match="the emulator is missing"), stores().holding(KEY, fails, NAME):
        pass
    assert stores.notes == []
