"""Jobs run on the workers of a cluster: once, and again only where a worker was lost with one or could not have it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ktstr.cancel import Cancel, Cancelled
from ktstr.cells.job import Asked, CellJob, CellResult
from ktstr.cluster import plugin
from ktstr.cluster.connect import Connection, WorkerLine
from ktstr.cluster.dispatch import MAX_RUNS
from ktstr.cluster.manifest import PIECE
from ktstr.cluster.submit import Came, NotWanted, Submissions, Tries, Wish
from ktstr.cluster.supply import Lost, Supply
from ktstr.cluster.wire import Done, Lacking, OutFile, check_name, parts_of, unpack_file
from ktstr.errors import EXIT_ENVIRONMENT, HostError, KtstrError

BACK_S = 15.0  # how long a result is waited for whose worker was lost: its nanny starts another on the same cache
MAX_SUPPLIES = 4  # rounds of sending one job's artifacts: to workers that lose them again


class ClusterRunner:
    """Runs jobs on a cluster, whose workers make the machines that they clone themselves. Safe from any thread: each
    waits for its own job."""

    def __init__(self, connection: Connection, supply: Supply) -> None:
        self._connection, self._supply = connection, supply
        self._submissions = Submissions(connection)

    def run(self, job: CellJob, workdir: Path, asked: Asked, cancel: Cancel) -> CellResult | None:
        """As ``JobRunner``. A job whose worker was lost is run elsewhere, once; one that was measured never is."""
        try:
            return self._run(job, workdir, asked, cancel)
        except (NotWanted, Cancelled):
            return None
        except KtstrError as err:
            return CellResult(job.name, job.input_digest, error=parts_of(err))

    def _run(self, job: CellJob, workdir: Path, asked: Asked, cancel: Cancel) -> CellResult:
        if not asked.fresh and (kept := self._left_by_another(job)) is not None:
            return self._taken(kept, job, workdir)
        wish, tries, supplies = Wish(job, self._supply.needs(job.artifacts), asked, cancel), Tries(), 0
        while True:
            came = self._submissions.submit(wish, tries)
            if isinstance(came.body, Lacking):
                supplies += 1
                if supplies > MAX_SUPPLIES:
                    raise HostError(f"workers lose what they are sent{self._submissions.told(tries)}", fix=self._fix)
                self._bring(came.address, came.body, tries)
            elif came.body is None and came.measured:
                return self._taken(self._come_back(job, came, cancel), job, workdir)
            elif came.body is None:
                self._was_lost(came.address, tries)
            elif not self._goes_elsewhere(came, tries):
                return self._taken(came, job, workdir)

    @property
    def _fix(self) -> str:
        return self._connection.link.fix

    def _bring(self, address: str, lacking: Lacking, tries: Tries) -> None:
        """Send a worker what it lacks; it has the job then. One that cannot take it is avoided: a full disk."""
        try:
            self._supply.bring(lacking.refs, address, WorkerLine(self._connection, address))
            tries.supplied = address
        except Lost:
            tries.avoided[address] = "was lost"
        except HostError as err:
            tries.avoided[address] = f"could not take what the job needs: {err.message}"
            self._connection.roster.look_again(address)

    def _was_lost(self, address: str, tries: Tries) -> None:
        """Raises HostError when that was the last run the job may have."""
        tries.avoided[address] = "was lost"
        if tries.runs_lost >= MAX_RUNS:
            told = self._submissions.told(tries)
            raise HostError(f"{tries.runs_lost} workers were lost while they ran it{told}", fix=self._fix)

    def _goes_elsewhere(self, came: Came, tries: Tries) -> bool:
        """Whether another worker is to have it: what this one's environment cannot do, another's may; once, and never
        after it was measured."""
        assert isinstance(came.body, Done)
        error = came.body.result.error
        if error is None or error.exit_code != EXIT_ENVIRONMENT or came.measured or tries.avoided:
            return False
        self._connection.roster.look_again(came.address)
        tries.avoided[came.address] = error.message
        return any(worker.address != came.address for worker in self._connection.roster.fit())

    def _left_by_another(self, job: CellJob) -> Came | None:
        """What a worker keeps of these inputs, of an asker that did not fetch it: it was there when this run began."""
        for worker in self._connection.roster.fit():
            if worker.facts is not None and job.input_digest in worker.facts.finished:
                with suppress(HostError):
                    done = self._connection.call(worker.address, Done, plugin.find_finished, job.input_digest, "")
                    return Came(worker.address, "", done, measured=True)
        return None

    def _come_back(self, job: CellJob, came: Came, cancel: Cancel) -> Came:
        """The result that a lost worker had measured, from one with the same cache. Raises HostError when none has it:
        it is not measured again, whatever it was."""
        waited = 0.0
        while waited < BACK_S and not cancel.wait(1.0):
            for worker in self._connection.roster.fit():
                with suppress(HostError):
                    words = (job.input_digest, came.ticket)
                    done = self._connection.call(worker.address, Done, plugin.find_finished, *words)
                    return Came(worker.address, came.ticket, done, measured=True)
            waited += 1.0
        name = self._connection.roster.name_of(came.address)
        raise HostError(f"worker {name} was lost after it had measured the cell, and its result with it", fix=self._fix)

    def _taken(self, came: Came, job: CellJob, workdir: Path) -> CellResult:
        """The result, its files in ``workdir``; a worker need not keep what this asker had it run any longer."""
        assert isinstance(came.body, Done)
        done, worker = came.body, self._connection.roster.name_of(came.address)
        if done.result.error is not None:
            error = done.result.error
            return replace(done.result, error=replace(error, message=f"worker {worker}: {error.message}"))
        if done.result.input_digest != job.input_digest:
            raise HostError(f"worker {worker}: sent the result of other inputs", fix=self._fix)
        for file in done.files:
            self._write(file, came.address, done.kept, workdir)
        if done.kept is not None and came.ticket:
            self._connection.arrived(came.address, done.kept)
        return replace(done.result, name=job.name)

    def _write(self, file: OutFile, address: str, kept: str | None, workdir: Path) -> None:
        """Raises HostError, OSError."""
        target = workdir / check_name(file.name)
        if file.data is not None:
            target.write_bytes(unpack_file(file))
            return
        if kept is None:
            return  # its disk was full: it is nowhere
        with target.open("wb") as out:
            for offset in range(0, file.size, PIECE):
                piece = self._connection.call(address, bytes, plugin.read_finished, kept, file.name, offset)
                if len(piece) != min(PIECE, file.size - offset):
                    raise HostError(f"{file.name}: a worker sent {len(piece)} bytes at {offset} of {file.size}")
                out.write(piece)
