"""A Dask cluster whose workers are hosts of their own: each in network, mount and UTS namespaces, where it has another
name, another address, a cache of its own, and does not see the asker's. Needs root, and iproute2.

The hub is the network namespace in which the scheduler and whoever asks are; a pair of veth devices leads from it to
each worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PORT = 8786
UP_S = 60.0
DASK = (sys.executable, "-m", "distributed.cli.dask_scheduler"), (sys.executable, "-m", "distributed.cli.dask_worker")


def wait_for(what: str, check: Callable[[], object], timeout_s: float = UP_S) -> None:
    """Until ``check`` gives something true."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.05)


def run(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)


@dataclass
class Namespace:
    """The namespaces of a process that only waits. ``flags``: how nsenter enters them."""

    holder: subprocess.Popen[bytes]
    flags: tuple[str, ...]

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command begins with that runs inside."""
        return ("nsenter", "-t", str(self.holder.pid), *self.flags, "--")


@contextmanager
def namespace(script: str, *flags: str) -> Iterator[Namespace]:
    """New namespaces, in which ``script`` has been run."""
    words = ["unshare", *flags, "sh", "-ec", f"{script}; echo ready; exec sleep infinity"]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert holder.stdout is not None and holder.stderr is not None
    try:
        ready = holder.stdout.readline()
        assert ready == b"ready\n", holder.stderr.read()
        yield Namespace(holder, flags)
    finally:
        holder.kill()
        holder.wait()


@dataclass
class WorkerHost:
    """A host with one worker. ``nanny`` starts it anew when it dies; ``cpu``: the only one it may use, None for all."""

    name: str
    address: str
    space: Namespace
    cache: Path
    log: Path
    nanny: subprocess.Popen[bytes] | None = None
    cpu: int | None = None

    def worker(self) -> psutil.Process:
        """The process that runs jobs."""
        assert self.nanny is not None
        found = [one for one in psutil.Process(self.nanny.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        assert found, self.log.read_text()
        return found[0]

    def emulators(self) -> list[psutil.Process]:
        """Its guests, whoever started them."""
        cache, found = str(self.cache), []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if any(cache in word for word in one.cmdline()) and "qemu" in " ".join(one.cmdline()):
                    found.append(one)
        return found


@dataclass
class Bed:
    """The cluster. ``environ`` is what its processes get beside the test's own."""

    folder: Path
    hub: Namespace
    hosts: list[WorkerHost]
    environ: Mapping[str, str]
    scheme: str = "tcp"
    scheduler: subprocess.Popen[bytes] | None = None
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def address(self) -> str:
        """As who asks names it, in the hub."""
        return f"{self.scheme}://127.0.0.1:{PORT}"

    def start(self, space: Namespace, words: tuple[str, ...], log: Path, **extra: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*space.enter, *words], stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environ, **extra},
            )  # fmt: skip

    def start_scheduler(self) -> None:
        """Also again, once it was killed."""
        log = self.folder / "scheduler.log"
        words = (*DASK[0], "--host", f"{self.scheme}://0.0.0.0:{PORT}", "--no-dashboard")
        self.scheduler = self.start(self.hub, words, log)
        wait_for("the scheduler", lambda: log.exists() and "Scheduler at" in log.read_text())

    def start_worker(self, host: WorkerHost) -> None:
        """Also again, once it is gone."""
        gateway = host.address.rpartition(".")[0] + ".1"
        scratch = self.folder / f"{host.name}.dask"
        bound = () if host.cpu is None else ("taskset", "-c", str(host.cpu))
        threads = 1 if bound else len(os.sched_getaffinity(0))
        words = (
            *bound, *DASK[1], f"{self.scheme}://{gateway}:{PORT}", "--host", f"{self.scheme}://{host.address}",
            "--memory-limit", "0", "--no-dashboard", "--nworkers", "1", "--nthreads", str(threads),
            "--local-directory", str(scratch),
        )  # fmt: skip
        host.nanny = self.start(host.space, words, host.log, KTSTR_CACHE_DIR=str(host.cache))

    def end_worker(self, host: WorkerHost) -> None:
        """As when the host goes down."""
        _end(host.nanny)

    def restart_worker(self, host: WorkerHost) -> None:
        """Over when the scheduler has the new one."""

        def joined() -> int:
            return host.log.read_text().count("Registered to:") if host.log.exists() else 0

        self.end_worker(host)
        before = joined()
        self.start_worker(host)
        wait_for(f"the worker of {host.name}", lambda: joined() > before)

    def stop(self) -> None:
        """End all that was started, by its pid."""
        for process in [host.nanny for host in self.hosts] + [self.scheduler]:
            _end(process)

    def asking(self, *words: str) -> list[str]:
        """A command as who asks runs it."""
        return [*self.hub.enter, *words]

    def logs(self) -> str:
        """What all of them said, for a test that failed."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """With all that it started."""
    if process is None or process.poll() is not None:
        return
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for one in below:
        with suppress(psutil.Error):
            one.kill()


@contextmanager
def bed(folder: Path, hidden: Path, count: int = 3, scheme: str = "tcp", **environ: str) -> Iterator[Bed]:
    """A cluster of ``count`` hosts that do not see ``hidden``, the asker's cache. Its files are in ``folder``."""
    with ExitStack() as held:
        hub = held.enter_context(namespace("ip link set lo up", "-n"))
        hosts = []
        for index in range(1, count + 1):
            name = f"host{index}"
            script = f"mount -t tmpfs none {hidden}; hostname {name}; ip link set lo up"
            space = held.enter_context(namespace(script, "-n", "-m", "-u"))
            inner, outer = f"10.77.{index}.2", f"10.77.{index}.1"
            run(*hub.enter, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
                str(space.holder.pid))  # fmt: skip
            run(*hub.enter, "ip", "addr", "add", f"{outer}/24", "dev", name)
            run(*hub.enter, "ip", "link", "set", name, "up")
            run(*space.enter, "ip", "addr", "add", f"{inner}/24", "dev", "eth0")
            run(*space.enter, "ip", "link", "set", "eth0", "up")
            hosts.append(WorkerHost(name, inner, space, folder / f"{name}.cache", folder / f"{name}.log"))
        made = Bed(folder, hub, hosts, environ, scheme)
        held.callback(made.stop)
        made.start_scheduler()
        for host in hosts:
            made.start_worker(host)
        yield made


@dataclass(frozen=True)
class Measured:
    """What was measured of a cell: the bytes of what its guest reported, and the digest of its machine's RAM."""

    guest: str
    ram: str | None


def measured(cells: Path) -> dict[str, Measured]:
    """That of all cells of a store, by the names of their folders."""
    found = {}
    for path in sorted(cells.glob("[0-9a-f]*/record.json")):
        record = json.loads(path.read_bytes())["record"]
        found[path.parent.name] = Measured(json.dumps(record["guest"]), record["end"]["origin"]["ram_digest"])
    return found


def assert_same_guests(here: Path, there: Path) -> None:
    """Two stores have the same cells, clones of equal machines that reported the same bytes."""
    one, other = measured(here), measured(there)
    assert one.keys() == other.keys()
    assert {name: (one[name].ram, other[name].ram) for name in one if one[name].ram != other[name].ram} == {}
    assert [name for name in one if one[name] != other[name]] == []
