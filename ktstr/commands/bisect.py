"""``bisect=1``: the exit code that ``git bisect run`` understands.

git-bisect(1): 0 is a good commit, 125 one that cannot be tested, 1 to 127 a bad one, and 128 and above
stop the bisection. So only a verdict may give 1, and what is no fact about the commit must stop it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ktstr.tasks.session import Session

GOOD, BAD, UNTESTABLE, ABORT = 0, 1, 125, 128
# What these tasks make depends on the commit under test; of the others, nothing does.
_OF_THE_COMMIT = ("source", "kernel", "scheduler", "image", "cell")


def bisecting(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether ``bisect=1`` was given, seen before anything is checked: a mistyped word is no bad commit."""
    given = [arg.partition("=")[2] for arg in argv if arg.startswith("bisect=")]
    return (given[-1] if given else environ.get("KTSTR_BISECT", "0")).lower() not in ("0", "false", "no", "off", "")


def exit_code(session: Session) -> int:
    """0 when every cell passed, 1 when one failed, 125 when the kernel cannot be judged, else at least 128."""
    if session.signal:
        return 128 + session.signal
    verdicts = [outcome.verdict for outcome in session.outcomes.values()]
    if "fail" in verdicts:
        return BAD
    if any(task.split(":")[0] not in _OF_THE_COMMIT for task in session.failures):
        return ABORT
    decided = bool(verdicts) and all(verdict == "pass" for verdict in verdicts)
    assert session.plan is not None
    whole = len(verdicts) == len(session.plan.cells) and not session.plan.broken and not session.failures
    return GOOD if decided and whole else UNTESTABLE
