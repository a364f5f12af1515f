"""The JSON Schema (2020-12) of sidecars, made from the types in ``record.sidecar``.

``python -m ktstr.record.sidecar_schema > schemas/sidecar.schema.json`` rewrites the file for other programs; a test
compares the two.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from ktstr.record.sidecar import BITS, Sidecar

Schema = dict[str, Any]

_COUNT: Schema = {"type": "integer", "minimum": 0}
_PERTURBATIONS: Schema = {
    "type": ["object", "null"],
    "required": ["generator", "seed"],
    "properties": {"generator": {"type": "string"}, "seed": _COUNT},
    "additionalProperties": {"type": "array", "items": _COUNT},
}


def _not_both(one: str, other: str) -> Schema:
    return {"not": {"required": [one, other], "properties": {one: {"const": True}, other: {"const": True}}}}


def _tidy(schema: Any) -> Any:
    """The same schema as people write it: ``type`` lists instead of ``anyOf``, no titles, descriptions on one line."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not (key == "required" and value == [])}
    whole = {key: _named(value) if key in ("properties", "$defs") else _tidy(value) for key, value in kept.items()}
    whole.pop("title", None)
    if isinstance(description := whole.get("description"), str):
        whole["description"] = " ".join(description.split())
    return _merged(whole) if "anyOf" in whole else whole


def definitions_of(struct: type[Struct]) -> Schema:
    """The schemas of a struct and of all that it is made of, by their names."""
    _, definitions = schema_components([struct], ref_template="#/$defs/{name}")
    return _named(definitions)


def _named(schemas: dict[str, Any]) -> dict[str, Any]:
    """Schemas by a name of ours, which is no keyword."""
    return {name: _tidy(schema) for name, schema in schemas.items()}


def _merged(schema: Schema) -> Schema:
    """``anyOf`` of a scalar's forms as one: a number with or without fraction, and null, an enum's value or null."""
    forms: list[Schema] = schema["anyOf"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    number = next((form for form in forms if form.get("type") == "number"), None)
    if number is not None:
        forms = [form for form in forms if form != {**number, "type": "integer"}]
    if len(forms) == 1:
        return {**rest, **forms[0]}
    if len(forms) == 2 and forms[1] == {"type": "null"} and "$ref" not in forms[0]:
        form = forms[0]
        if "enum" in form:
            return {**rest, "enum": [*form["enum"], None]}
        return {**rest, **form, "type": [form["type"], "null"]}
    return {**rest, "anyOf": forms}


def document() -> Schema:
    """The whole schema: what the types say, and what ``Sidecar`` checks beyond them."""
    whole = definitions_of(Sidecar)
    top = whole.pop("Sidecar")
    top["properties"]["perturbations"] = {**top["properties"]["perturbations"], **_PERTURBATIONS}
    top["properties"]["perturbations"].pop("anyOf", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ktstr sidecar",
        **top,
        "allOf": [_not_both(one, other) for one, other in itertools.combinations(BITS, 2)],
        "$defs": whole,
    }


def render() -> str:
    """The schema as the text of ``schemas/sidecar.schema.json``."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render(), end="")
