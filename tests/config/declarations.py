"""Loads declarations in tests: what they mean, and what is told of a mistake in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.load import parse
from ktstr.config.model import Config, TestDecl
from ktstr.errors import InputError

HEAD = """kernels: {k: deb:forky/cloud-amd64}
payloads: {bench: {path: ./bench}, other: {path: ./other}}
"""


def read(text: str) -> Config:
    """The declarations of ``text``, checked against the JSON Schema too."""
    return parse(text.encode(), Path("/p/ktstr.yaml"))


def errors(text: str) -> list[str]:
    """All that is told of ``text``."""
    with pytest.raises(InputError) as err:
        read(text)
    return str(err.value).splitlines()


def told(text: str) -> tuple[str, str]:
    """What is told of the one mistake in ``text``, and the place at which ``^`` says that it is."""
    before = text[: text.index("^")]
    place = f"ktstr.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))} "
    (found,) = errors(text.replace("^", ""))
    return found, place


def test_of(body: str) -> TestDecl:
    """The test ``t`` with this body, two spaces in."""
    return read(f"{HEAD}tests:\n  t:\n{indented(body)}").tests["t"]


def indented(body: str, by: int = 4) -> str:
    """The lines of a body, further in."""
    return "".join(f"{' ' * by}{line}\n" for line in body.strip("\n").splitlines())


def mistake(body: str) -> tuple[str, str]:
    """As ``told``, of a mistake in the test ``t``."""
    return told(f"{HEAD}tests:\n  t:\n{indented(body)}")


test_of.__test__ = False  # type: ignore[attr-defined]  # for pytest: no test
