from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktstr.host.cache import Cache
from ktstr.vm import snapshots as module
from ktstr.vm.snapshots import Snapshot, Snapshots, host_identity

KEY = "a" * 64
ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept(tmp_path: Path) -> Snapshots:
    return Snapshots(Cache(tmp_path))


def fill(folder: Path, size: int = 4096) -> bool:
    with Snapshot(folder).created() as (memory, state):
        os.write(memory, b"m" * size)
        os.write(state, b"s")
    return True


def names(kept: Snapshots) -> list[str]:
    folder = kept.cache.root / "snapshots"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_the_key_follows_everything_a_machine_is_made_of(kept: Snapshots) -> None:
    keys = {
        kept.key("kernel image", "vmm", ("a", "b")),
        kept.key("kernel other", "vmm", ("a", "b")),
        kept.key("kernel image", "vmm2", ("a", "b")),
        kept.key("kernel image", "vmm", ("a b",)),
    }
    assert len(keys) == 4
    assert kept.key("kernel image", "vmm", ("a", "b")) in keys


def test_the_hosts_part_names_its_cpu_and_this_boot() -> None:
    found = host_identity()
    assert os.uname().release in found
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() in found
    assert found[0] in Path("/proc/cpuinfo").read_text()


def test_nothing_is_there_until_somebody_makes_it(kept: Snapshots) -> None:
    with kept.holding(KEY, None) as found:
        assert found is None
    with kept.holding(KEY, fill) as found:
        assert found is not None
        with found.opened() as (memory, state):
            assert (os.read(memory, 2), os.read(state, 9)) == (b"mm", b"s")
    with kept.holding(KEY, None) as found:
        assert found is not None


def test_one_that_could_not_be_made_leaves_nothing(kept: Snapshots) -> None:
    with kept.holding(KEY, lambda folder: not fill(folder)) as found:
        assert found is None

    def raises(folder: Path) -> bool:
        fill(folder)
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError), kept.holding(KEY, raises):
        pass
    assert names(kept) == []


KILLED = """
import os, signal, sys; from pathlib import Path
from ktstr.host.cache import Cache; from ktstr.vm.snapshots import Snapshots
def make(folder):
    (folder / "memory").write_bytes(b"m" * 4096)
    print("half made", flush=True)
    sys.stdin.read()
with Snapshots(Cache(Path(sys.argv[1]))).holding(sys.argv[2], make): pass
"""


@pytest.mark.parametrize("wanted", [KEY, "b" * 64])
def test_what_a_killed_process_left_goes_with_the_next_that_is_made_and_not_before(
    kept: Snapshots, wanted: str
) -> None:
    command = [sys.executable, "-c", KILLED, str(kept.cache.root), KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as maker:
        assert maker.stdout is not None and maker.stdout.readline() == "half made\n"
        with kept.holding("c" * 64, fill):
            assert len(names(kept)) == 2, "somebody works in it"
        maker.kill()
        maker.wait()
    assert len(names(kept)) == 2
    with kept.holding(wanted, fill) as found:
        assert found is not None
    assert names(kept) == sorted([wanted, "c" * 64])


def test_a_folder_that_is_none_of_ours_is_left_alone(kept: Snapshots) -> None:
    odd = kept.cache.root / "snapshots" / ".tmp-..-1-1"
    odd.mkdir(parents=True)
    with kept.holding(KEY, fill):
        pass
    assert odd.is_dir()


def test_it_is_made_once_for_all_that_want_it(kept: Snapshots) -> None:
    made: list[str] = []

    def slowly(folder: Path) -> bool:
        made.append(folder.name)
        time.sleep(0.2)
        return fill(folder)

    found: list[Snapshot | None] = []

    def want() -> None:
        with kept.holding(KEY, slowly) as snapshot:
            found.append(snapshot)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [snapshot is not None for snapshot in found] == [True] * 4


def test_a_forgotten_one_is_made_again(kept: Snapshots) -> None:
    with kept.holding(KEY, fill):
        kept.forget(KEY)
    assert names(kept) == []
    with kept.holding(KEY, fill) as found:
        assert found is not None


def test_the_longest_unused_go_first_but_none_in_use(kept: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100 << 10)
    for number, letter in enumerate("bcd"):
        with kept.holding(letter * 64, lambda folder: fill(folder, 20 << 10)):
            pass
        os.utime(kept.cache.root / "snapshots" / (letter * 64), (number, number))
    with kept.holding("b" * 64, None) as held:  # used now: the newest
        assert held is not None
        with kept.holding("e" * 64, lambda folder: fill(folder, 80 << 10)):
            pass
        assert names(kept) == ["b" * 64, "e" * 64]
    with kept.holding("f" * 64, lambda folder: fill(folder, 120 << 10)):
        pass
    assert names(kept) == ["f" * 64]
