"""Patches of kernel sources: a unified diff is read whole, and applied exactly or not at all.

What ``patch -p1`` guesses, this refuses: a hunk's lines have to stand in the file as they are (no fuzz). Where lines
moved since the diff was made, the hunk is applied where they stand, if that is one place. Names have to lead to a file
inside the tree; renames, modes and binary files are nothing that it can say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import InputError
from ktstr.files import unreadable

MAX_PATCH = 4 << 20  # bytes; stable updates of a whole series have less
_NAME_MAX, _PATH_MAX = 255, 1024
_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_NO_NEWLINE = b"\\ "
# Of git's extended headers (gitformat-diff), those that ask for what is not done here.
_BEYOND = re.compile(
    rb"(rename|copy) (from|to) |old mode |new mode |GIT binary patch|Binary files |new file mode (?!100644|100755)"
)
_SHOWN = 100  # characters of a line in a message

Read = Callable[[str], bytes | None]
"""Gives what a file of the tree holds by its path below the top, None where there is no such file."""


@dataclass(frozen=True)
class Hunk:
    """Lines that stand in a file, from line ``start`` on where the diff was made, and what they become. With line ends.

    ``line`` is that of the hunk in the patch, ``place`` its ``@@ ... @@``.
    """

    line: int
    place: str
    start: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]


@dataclass(frozen=True)
class FileChange:
    """What becomes of one file, by its path below the tree's top. ``line``: where the patch says so."""

    path: str
    line: int
    hunks: tuple[Hunk, ...]
    creates: bool = False
    removes: bool = False


@dataclass(frozen=True)
class Patch:
    """A patch as read. ``digest`` is the SHA-256 of its bytes."""

    path: Path
    digest: str
    changes: tuple[FileChange, ...]


def read_patch(path: Path) -> Patch:
    """The patch in a file. Raises InputError, naming the line, for what is no unified diff of files of a tree."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PATCH + 1)
    except OSError as err:
        raise unreadable(err, f"patch {path}") from None
    if len(raw) > MAX_PATCH:
        raise InputError(f"patch {path}: found more than {MAX_PATCH} bytes, expected a patch of a kernel")
    changes = tuple(_Reader(path, raw).changes())
    if not changes:
        raise InputError(
            f"patch {path}: found no change in it, expected a unified diff", fix="git diff, or diff -u, makes one"
        )
    return Patch(path, hashlib.sha256(raw).hexdigest(), changes)


class _Reader:
    """The lines of a patch, one after the other."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self._path, self._lines, self._next = path, _lines(raw), 0

    def changes(self) -> Iterator[FileChange]:
        """Each file's, in order; what stands between them, such as a mail's text, is passed over."""
        while (line := self._peek()) is not None:
            if _BEYOND.match(line):
                raise self._wrong(f"found {_text(line)}", "changes of the lines of files")
            if line.startswith(b"--- ") and (self._peek(1) or b"").startswith(b"+++ "):
                yield self._change()
            elif _HUNK.match(line):
                raise self._wrong(f"found {_text(line)} of no file", "--- and +++ lines with the file's name before it")
            else:
                self._next += 1

    def _peek(self, ahead: int = 0) -> bytes | None:
        place = self._next + ahead
        return self._lines[place] if place < len(self._lines) else None

    def _wrong(self, found: str, expected: str, line: int | None = None) -> InputError:
        return InputError(
            f"patch {self._path}:{self._next + 1 if line is None else line}: {found}, expected {expected}"
        )

    def _change(self) -> FileChange:
        first = self._next + 1
        old, new = self._name(b"--- "), self._name(b"+++ ")
        if old is not None and new is not None and old != new:
            raise self._wrong(f"found a file {old!r} that becomes {new!r}", "the same name twice", first)
        name = old if old is not None else new
        if name is None:
            raise self._wrong("found /dev/null twice", "the name of a file", first)
        hunks = []
        while _HUNK.match(self._peek() or b""):
            hunks.append(self._hunk())
        if not hunks:
            raise self._wrong(f"found {_text(self._peek() or b'the end')}", "@@ -LINE,COUNT +LINE,COUNT @@")
        change = FileChange(name, first, tuple(hunks), creates=old is None, removes=new is None)
        self._check_whole(change)
        return change

    def _check_whole(self, change: FileChange) -> None:
        """A file that is made or removed is so by one hunk, that has all of it."""
        hunks = change.hunks
        if (change.creates or change.removes) and len(hunks) > 1:
            raise self._wrong(f"found {len(hunks)} hunks", "one for a file that is made or removed", change.line)
        if (change.creates and hunks[0].old) or (change.removes and hunks[0].new):
            raise self._wrong("found lines on both sides", "a file that is made or removed whole", hunks[0].line)

    def _name(self, mark: bytes) -> str | None:
        """A file's path without its first folder (``a/``, ``b/``); None for /dev/null."""
        line = self._peek() or b""
        text = line.removeprefix(mark).rstrip(b"\r\n").partition(b"\t")[0].decode("utf-8", "replace")
        if text == "/dev/null":
            self._next += 1
            return None
        parts = text.split("/")
        inside = parts[1:]
        plain = text.isprintable() and "�" not in text and not text.startswith(("/", '"', "~"))
        if not plain or not inside or any(part in ("", ".", "..") for part in parts):
            raise self._wrong(
                f"found the name {_text(text.encode())}", "a path inside the tree, as in a/kernel/sched/core.c"
            )
        if len(text) > _PATH_MAX or any(len(part.encode()) > _NAME_MAX for part in parts):
            raise self._wrong("found an overlong name", "a path inside the tree")
        self._next += 1
        return "/".join(inside)

    def _hunk(self) -> Hunk:
        line = self._next + 1
        head = _HUNK.match(self._peek() or b"")
        assert head is not None
        start, olds, news = int(head[1]), *(1 if head[n] is None else int(head[n]) for n in (2, 4))
        self._next += 1
        old: list[bytes] = []
        new: list[bytes] = []
        while len(old) < olds or len(new) < news:
            self._body(old, new)
        self._end(old, new)
        if len(old) != olds or len(new) != news:
            counts = f"{len(old)} lines that become {len(new)}"
            raise self._wrong(f"found {counts} in hunk {_text(head[0])}", f"{olds} that become {news}", line)
        if old == new:
            raise self._wrong("found a hunk that changes nothing", "lines that begin with + or -", line)
        return Hunk(line, head[0].decode(), start, tuple(old), tuple(new))

    def _body(self, old: list[bytes], new: list[bytes]) -> None:
        """Take one line of a hunk."""
        line = self._peek()
        if line is None:
            raise self._wrong("found the end of the patch within a hunk", "the rest of its lines")
        sides = {b" ": (old, new), b"\n": (old, new), b"-": (old,), b"+": (new,)}.get(line[:1])
        if line.startswith(_NO_NEWLINE) and (old or new):
            self._end(old, new)
            return
        if sides is None:
            raise self._wrong(f"found {_text(line)}", "a line of a hunk, that begins with a blank, + or -")
        for side in sides:
            side.append(b"\n" if line == b"\n" else line[1:])
        self._next += 1

    def _end(self, old: list[bytes], new: list[bytes]) -> None:
        """Take a ``\\ No newline at end of file``: it is said of the line before."""
        while (line := self._peek()) is not None and line.startswith(_NO_NEWLINE):
            before = self._lines[self._next - 1][:1]
            for side, marks in ((old, b" -"), (new, b" +")):
                if before in marks and side:
                    side[-1] = side[-1].removesuffix(b"\n")
            self._next += 1


def apply(patches: Sequence[Patch], read: Read, sources: str) -> dict[str, bytes | None]:
    """What the changed files hold then, by their paths, None for those that are gone.

    ``read`` is asked for files as they are before; ``sources`` is what messages call the tree. Raises InputError that
    names the hunk that does not fit, with the line that differs.
    """
    made: dict[str, bytes | None] = {}
    for patch in patches:
        for change in patch.changes:
            before = made[change.path] if change.path in made else read(change.path)
            made[change.path] = _changed(patch, change, before, sources)
    return made


def _changed(patch: Patch, change: FileChange, before: bytes | None, sources: str) -> bytes | None:
    where = f"patch {patch.path}:{change.line}: {change.path}"
    if change.creates and before is not None:
        raise InputError(f"{where}: found such a file in {sources}, expected none: the patch makes it")
    if change.creates:
        return b"".join(change.hunks[0].new)
    if before is None:
        raise InputError(
            f"{where}: found no such file in {sources}, expected the one that the patch changes",
            fix="make the patch anew, against these sources",
        )
    lines = _lines(before)
    after, done, drift = list[bytes](), 0, 0
    for number, hunk in enumerate(change.hunks, 1):
        at = _find(lines, hunk, done, drift)
        if at is None:
            raise _unfit(patch, change, number, lines, sources, drift)
        after += [*lines[done:at], *hunk.new]
        done, drift = at + len(hunk.old), at - _expected(hunk)
    after += lines[done:]
    if change.removes and after:
        raise InputError(f"{where}: found lines in {sources} that the patch does not remove, expected none more")
    return None if change.removes else b"".join(after)


def _lines(text: bytes) -> list[bytes]:
    """The lines with their ends; a carriage return is a part of its line."""
    return re.findall(rb"[^\n]*\n|[^\n]+", text)


def _expected(hunk: Hunk) -> int:
    """The index of its first line, where the diff was made; one without lines before is put behind its ``start``."""
    return hunk.start - 1 if hunk.old else hunk.start


def _find(lines: list[bytes], hunk: Hunk, done: int, drift: int) -> int | None:
    """Where the hunk's lines stand, behind what is done: where they are expected, else at the only other place."""
    at, old = _expected(hunk) + drift, list(hunk.old)
    if done <= at <= len(lines) and lines[at : at + len(old)] == old:
        return at
    places = _places(lines, old, done) if old else []
    return places[0] if len(places) == 1 else None


def _places(lines: list[bytes], wanted: list[bytes], first: int) -> list[int]:
    return [at for at in range(first, len(lines) - len(wanted) + 1) if lines[at : at + len(wanted)] == wanted]


def _unfit(patch: Patch, change: FileChange, number: int, lines: list[bytes], sources: str, drift: int) -> InputError:
    """The error of a hunk that does not fit, with the first line that is another."""
    hunk = change.hunks[number - 1]
    what = f"patch {patch.path}:{hunk.line}: hunk {number} of {change.path} ({hunk.place}) does not fit {sources}"
    fix = "make the patch anew, against these sources"
    places = _places(lines, list(hunk.old), 0)
    if len(places) > 1:
        there = ", ".join(str(at + 1) for at in places[:5])
        where = f"found its lines at {len(places)} places (lines {there})"
        return InputError(f"{what}: {where}, expected one", fix=f"{fix}, with more context")
    if hunk.new and _places(lines, list(hunk.new), 0):
        return InputError(f"{what}: found the lines that it makes there already", fix="leave it out; or reverse it")
    at = _nearest(lines, hunk.old, _expected(hunk) + drift)
    offset = next((n for n, line in enumerate(hunk.old) if at + n >= len(lines) or lines[at + n] != line), 0)
    found = _text(lines[at + offset]) if at + offset < len(lines) else "the end of the file"
    wanted = _text(hunk.old[offset]) if hunk.old else "the end of the file"
    return InputError(f"{what}: line {at + offset + 1}: found {found}, expected {wanted}", fix=fix)


def _nearest(lines: list[bytes], old: Sequence[bytes], expected: int) -> int:
    """Where most of the hunk's first lines stand, the place nearest to the expected one of these."""

    def agreed(at: int) -> int:
        return next((n for n, line in enumerate(old) if at + n >= len(lines) or lines[at + n] != line), len(old))

    starts = [at for at, line in enumerate(lines) if old and line == old[0]] or [min(max(expected, 0), len(lines))]
    return max(starts, key=lambda at: (agreed(at), -abs(at - expected)))


def _text(line: bytes) -> str:
    """A line as messages quote it."""
    text = line.decode("utf-8", "replace").rstrip("\r\n").expandtabs(4)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
