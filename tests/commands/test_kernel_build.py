"""Which kernel ``kernel_build`` is asked for, where the environment has its own idea."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.commands.declare.variables import read_options
from ktstr.commands.kernel_build import Options, kernel_words

ENVIRONS = [
    {"KTSTR_KERNEL": "6.12"},
    {"KTSTR_VERSION": "6.12"},
    {"KTSTR_SOURCE": "/elsewhere"},
    {"KTSTR_GIT": "https://example.org/linux", "KTSTR_REF": "main"},
]
GIVEN = [
    ({"kernel": ["6.14"]}, "6.14"),
    ({"version": ["6.14"]}, "6.14"),
    ({"source": ["tree"]}, "/stand/tree"),
    ({"git": ["file:///linux"], "ref": ["v6.14"]}, "git+file:///linux#v6.14"),
]


@pytest.mark.parametrize("environ", ENVIRONS)
@pytest.mark.parametrize(("given", "word"), GIVEN)
def test_what_the_command_line_names_silences_the_environment(
    environ: dict[str, str], given: dict[str, list[str]], word: str
) -> None:
    assert kernel_words(read_options(Options, given, environ), Path("/stand")) == (word,)
