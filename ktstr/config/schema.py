"""The JSON Schema (2020-12) of ktstr.yaml, made from the field tables.

``python -m ktstr.config.schema > schemas/ktstr.schema.json`` rewrites the file editors read;
a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ktstr.config import fields
from ktstr.config.fields import Field, Table
from ktstr.config.temporal import TEMPORAL_PATTERN
from ktstr.cpulist import CPU_LIST_PATTERN
from ktstr.record.metrics import METRICS
from ktstr.record.vocabulary import WORK_TYPES

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^({pattern})$"}


def _words(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


# Values that read as numbers are taken by their text where text is wanted (`- --stall-after` `- 1`).
_WORD: Schema = {"type": ["string", "number"], "minLength": 1}
_ANY_TEXT: Schema = {"type": ["string", "number"]}
_CPU_LIST: Schema = {"type": ["string", "integer"], "pattern": f"^({CPU_LIST_PATTERN})$", "minimum": 0}
_SEEDS: Schema = {"type": ["string", "integer"], "pattern": f"^({fields.SEEDS_PATTERN})$", "minimum": 0}

_KINDS: dict[str, Callable[[Field], Schema]] = {
    "text": lambda f: {"type": "string"},
    "word": lambda f: _WORD,
    "spec": lambda f: _WORD,
    "name": lambda f: {**_text(fields.NAME_PATTERN), "type": ["string", "number"]},
    "label": lambda f: _text(fields.LABEL_PATTERN),
    "bool": lambda f: {"type": "boolean"},
    "int": lambda f: {"type": "integer", "minimum": int(f.low), "maximum": int(f.high)},
    "number": lambda f: {"type": "number", "minimum": f.low, "maximum": f.high},
    "duration": lambda f: _text(fields.DURATION_PATTERN),
    "choice": lambda f: {"enum": list(f.choices)},
    "texts": lambda f: {"type": "array", "items": _ANY_TEXT},
    "kargs": lambda f: {"type": "array", "items": _text(fields.WORD_PATTERN)},
    "sysctls": lambda f: {
        "type": "object",
        "propertyNames": {"pattern": f"^({fields.SYSCTL_PATTERN})$"},
        "additionalProperties": {"type": ["string", "number"], "pattern": f"^({fields.WORD_PATTERN})$"},
    },
    "env": lambda f: {
        "type": "object",
        "propertyNames": {"pattern": f"^({fields.ENV_PATTERN})$", "not": {"enum": sorted(fields.RESERVED_ENV)}},
        "additionalProperties": {"type": ["string", "number"], "pattern": f"^({fields.LINE_PATTERN})$"},
    },
    "path": lambda f: _WORD,
    "paths": lambda f: _words(_WORD),
    "globs": lambda f: _words(_WORD),
    "writes": lambda f: {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^({fields.WRITE_PATTERN})$"},
        "additionalProperties": {"type": ["string", "number"], "pattern": f"^({fields.LINE_PATTERN})$"},
    },
    "cgroup": lambda f: _text(fields.CGROUP_PATTERN),
    "regex": lambda f: {"type": ["string", "number"], "minLength": 1, "maxLength": fields.MAX_REGEX},
    "crate": lambda f: _text(fields.CRATE_PATTERN),
    "features": lambda f: _words({**_text(fields.FEATURE_PATTERN), "type": ["string", "number"]}),
    "patterns": lambda f: _words(_WORD),
    "seeds": lambda f: _words(_SEEDS),
    "cpu_list": lambda f: _words(_CPU_LIST),
    "metric": lambda f: _ref("metric"),
    "temporal": lambda f: _words(_text(TEMPORAL_PATTERN)),
    "node": lambda f: _ref(f.shape),
}


def _field(field: Field) -> Schema:
    return {"description": field.about, **_KINDS[field.kind](field)}


def _object(table: Table) -> Schema:
    shape: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(field) for name, field in table.items()},
    }
    required = [name for name, field in table.items() if field.required]
    return {**shape, "required": required} if required else shape


def _named(item: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": f"^({fields.NAME_PATTERN})$"}, "additionalProperties": item}


def _one_of_keys(forms: dict[str, Schema], about: dict[str, str]) -> Schema:
    properties = {name: {"description": about[name], **form} for name, form in forms.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _tuple(*items: Schema) -> Schema:
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


def _cpuset() -> Schema:
    index: Schema = {"type": "integer", "minimum": 0}
    parts: Schema = {"type": "integer", "minimum": 1}
    fraction: Schema = {"type": "number", "minimum": 0, "maximum": 1}
    forms = {
        "llc": index,
        "numa": index,
        "range": _tuple(fraction, fraction),
        "disjoint": _tuple(index, parts),
        "overlap": _tuple(index, parts, fraction),
        "exact": _words(_CPU_LIST),
    }
    return _one_of_keys(forms, fields.CPUSET)


def _params_of_their_types() -> list[Schema]:
    """A parameter is allowed only beside its own work type."""
    return [
        {"if": {"required": [param.key]}, "then": {"required": ["work"], "properties": {"work": {"const": work}}}}
        for work, facts in WORK_TYPES.items()
        for param in facts.params
    ]


def _works_alone() -> Schema:
    return {"if": {"required": ["works"]}, "then": {"properties": dict.fromkeys(fields.WORK, False)}}


def _scheduler() -> Schema:
    kinds: list[Schema] = [{"required": [key]} for key in fields.SCHEDULER_KINDS]
    needs = {"features": ["crate"], "enable": ["builtin"], "disable": ["builtin"]}
    return {**_object(fields.SCHEDULER), "oneOf": kinds, "dependentRequired": needs}


def _expect() -> Schema:
    """A word, or a mapping."""
    return {"anyOf": [{"enum": list(fields.EXPECT["end"].choices)}, _object(fields.EXPECT)]}


def _schedulers() -> Schema:
    eevdf = {**_object(fields.SCHEDULER), "properties": dict(_object(fields.SCHEDULER)["properties"])}
    others = (*fields.SCHEDULER_KINDS, "features")
    eevdf["properties"].update({key: False for key in others if key != "builtin"})
    return {**_named(_ref("scheduler")), "properties": {"eevdf": eevdf}}


def _definitions() -> Schema:
    rules = _params_of_their_types()
    return {
        "kernels": {
            **_named({"anyOf": [{"type": ["string", "number"], "minLength": 1}, _object(fields.KERNEL)]}),
            "minProperties": 1,
        },
        "schedulers": _schedulers(),
        "scheduler": _scheduler(),
        "presets": _named({"anyOf": [_text(fields.LABEL_PATTERN), _object(fields.PRESET)]}),
        "distances": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "tests": {**_named(_object(fields.TEST)), "minProperties": 1},
        "cgroups": {"type": "array", "minItems": 1, "items": _ref("cgroup")},
        "cgroup": {**_object(fields.CGROUP), "allOf": [*rules, _works_alone()]},
        "works": {"type": "array", "minItems": 1, "items": {**_object(fields.WORK), "allOf": rules}},
        "cpuset": _cpuset(),
        "checks": _object(fields.CHECKS),
        "build": _object(fields.BUILD),
        "expect": _expect(),
        "scheduler_ops": {"type": "array", "minItems": 1, "items": _object(fields.SCHEDULER_OP)},
        "constraints": _object(fields.CONSTRAINTS),
        "metric": {"enum": list(METRICS)},
        "perf_delta": {"type": "array", "minItems": 1, "items": {"anyOf": [_ref("metric"), _object(fields.PERF_GATE)]}},
        "compare": {"type": "array", "minItems": 2, "maxItems": 2, "uniqueItems": True, "items": _WORD},
        "matrices": _named(_object(fields.MATRIX)),
        "points": {"type": "array", "items": {**_object(fields.POINT), "minProperties": 1}},
    }


def document() -> Schema:
    """The whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ktstr.yaml",
        "description": "Kernels, schedulers, topologies, tests and matrices for ktstr.",
        **_object(fields.TOP),
        "$defs": _definitions(),
    }


def render() -> str:
    """The schema as the text of ``schemas/ktstr.schema.json``."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render(), end="")
