"""Pages from templates. Whatever a template prints is escaped, and what cannot be printed is replaced."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ktstr import __version__
from ktstr.cpulist import render
from ktstr.record.outcome import Outcome
from ktstr.stats.report.cells import severity
from ktstr.stats.report.text import counted, figure, shown, signed

# A verdict is told by its shape and word too, never by colour alone.
GLYPHS = {
    "pass": "\N{CHECK MARK}",
    "fail": "\N{BALLOT X}",
    "inconclusive": "?",
    "skip": "\N{EN DASH}",
    "regressed": "\N{BALLOT X}",
    "improved": "\N{CHECK MARK}",
    "undecided": "?",
    "noisy": "?",
    "same": "=",
    "unchanged": "=",
    "informational": "\N{MIDDLE DOT}",
}
SHORT = {"fail": "FAIL", "inconclusive": "inc."}


def page(template: str, **values: object) -> str:
    """A whole page. The hashes let the browser run our script and style, and no other."""
    style, script = (_asset(name) for name in ("style.css", "script.js"))
    return (
        _environment()
        .get_template(template)
        .render(
            version=__version__,
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
            **values,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ktstr.stats.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "tenth": lambda value: figure(round(value, 1)),
        "breakable": _breakable,
        "counted": counted,
        "percent": lambda value: figure(None) if value is None else f"{signed(float(f'{value:.3g}'))} %",
        "cpus": render,
        "glyph": lambda word: GLYPHS.get(word, ""),
        "short": lambda word: SHORT.get(word, word),
        "severity": lambda word: severity(Outcome(word)),
        "verdict_class": lambda word: "skip-verdict" if word == "skip" else str(word),
    }
    return environment


def _breakable(name: str) -> Markup:
    """A name that a narrow column may break after its underscores."""
    return escape(shown(name)).replace("_", Markup("_<wbr>"))


def _printable(value: Any) -> Any:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> str:
    return files("ktstr.stats.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
