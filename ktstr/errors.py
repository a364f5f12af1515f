"""The errors users see, and the exit code each one carries.

Every message names the thing, says what was found and what was expected, and
gives the fix. Exit codes: 1 a verdict failed, 2 the input is wrong, 3 the
environment cannot do it, 130/143 interrupted.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_VERDICT = 1
EXIT_INPUT = 2
EXIT_ENVIRONMENT = 3


class KtstrError(Exception):
    """An error meant for the user.

    ``message`` says what is wrong and where; ``fix`` is the command or edit that helps.
    """

    exit_code = EXIT_ENVIRONMENT

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  fix: {self.fix}"


class InputError(KtstrError):
    """What the user typed or wrote is wrong (exit 2)."""

    exit_code = EXIT_INPUT


class HostError(KtstrError):
    """The machine, its tools or its network cannot do it (exit 3)."""

    exit_code = EXIT_ENVIRONMENT


class Changed(HostError):
    """``what`` was edited or replaced after its content had been digested: nothing may be stored under that digest."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} changed while ktstr was running", fix="run the command again")
