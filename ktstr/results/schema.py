"""Where the JSON Schemas are, and validation against them with the path of the field that is wrong."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.errors import HostError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def schema_path(name: str) -> Path:
    """``schemas/NAME.schema.json``: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "schemas", package.parent / "schemas"):
        path = folder / f"{name}.schema.json"
        if path.is_file():
            return path
    raise HostError(f"schema {name}.schema.json: not found beside {package}", fix="install ktstr again")


@lru_cache(maxsize=16)
def validator(name: str) -> Validator:
    """A compiled validator of that schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema_path(name).read_text(encoding="utf-8")))


def first_problem(name: str, data: Any) -> str | None:
    """The first thing wrong with ``data`` as ``field: what``; None when it is valid."""
    from jsonschema.exceptions import best_match

    error = best_match(validator(name).iter_errors(data))
    if error is None:
        return None
    message = error.message if len(error.message) <= 200 else error.message[:199] + "…"
    return f"{error.json_path.removeprefix('$.')}: {message}"
