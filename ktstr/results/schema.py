"""Validation against a JSON Schema, with the path of the field that is wrong."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ktstr import resources

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


@lru_cache(maxsize=16)
def validator(name: str) -> Validator:
    """A compiled validator of that schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(resources.schema(name).read_text(encoding="utf-8")))


def first_problem(name: str, data: Any) -> str | None:
    """The first thing wrong with ``data`` as ``field: what``; None when it is valid."""
    from jsonschema.exceptions import best_match

    error = best_match(validator(name).iter_errors(data))
    if error is None:
        return None
    message = error.message if len(error.message) <= 200 else error.message[:199] + "…"
    return f"{error.json_path.removeprefix('$.')}: {message}"
