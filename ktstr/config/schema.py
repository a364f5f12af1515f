"""The JSON Schema (2020-12) of ktstr.yaml, made from the field tables.

``python -m ktstr.config.schema > schemas/ktstr.schema.json`` rewrites the file editors read;
a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ktstr.config import fields
from ktstr.config import scenario_fields as tables
from ktstr.config.fields import Field, Table
from ktstr.config.temporal import TEMPORAL_PATTERN
from ktstr.cpulist import CPU_LIST_PATTERN
from ktstr.record.facts import MAX_PHASES
from ktstr.record.metrics import METRICS

Schema = dict[str, Any]
_ANY = Field("node", "")


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^({pattern})$"}


def _words(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


# Values that read as numbers are taken by their text where text is wanted (`- --stall-after` `- 1`).
_WORD: Schema = {"type": ["string", "number"], "minLength": 1}
_ANY_TEXT: Schema = {"type": ["string", "number"]}
_NAME: Schema = {**_text(fields.NAME_PATTERN), "type": ["string", "number"]}
_USE: Schema = {"use": {"description": "mappings of `define`, whose keys come under its own", **_words(_WORD)}}
_CPU_LIST: Schema = {"type": ["string", "integer"], "pattern": f"^({CPU_LIST_PATTERN})$", "minimum": 0}
_SEEDS: Schema = {"type": ["string", "integer"], "pattern": f"^({fields.SEEDS_PATTERN})$", "minimum": 0}

_CGROUP_PATH = rf"{fields.NAME_PATTERN}(/{fields.NAME_PATTERN}){{0,{tables.MAX_CGROUP_DEPTH - 1}}}"
_WORD_OR_COUNT = ["string", "number"]


def _paths_of_cgroups(field: Field) -> Schema:
    return {**_text(_CGROUP_PATH), "type": _WORD_OR_COUNT, "maxLength": 255}


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
        "properties": _USE,
        "propertyNames": {"pattern": f"^({fields.SYSCTL_PATTERN})$"},
        "additionalProperties": {"type": ["string", "number"], "pattern": f"^({fields.WORD_PATTERN})$"},
    },
    "env": lambda f: {
        "type": "object",
        "properties": _USE,
        "propertyNames": {"pattern": f"^({fields.ENV_PATTERN})$", "not": {"enum": sorted(fields.RESERVED_ENV)}},
        "additionalProperties": {"type": ["string", "number"], "pattern": f"^({fields.LINE_PATTERN})$"},
    },
    "path": lambda f: _WORD,
    "paths": lambda f: _words(_WORD),
    "globs": lambda f: _words(_WORD),
    "writes": lambda f: {
        "type": "object",
        "properties": _USE,
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
    "choices": lambda f: _words({"enum": list(f.choices)}),
    "cgroup_path": _paths_of_cgroups,
    "count": lambda f: {"anyOf": [{"type": "integer", "minimum": int(f.low), "maximum": int(f.high)}, _ref("count")]},
    "pair": lambda f: _tuple(_paths_of_cgroups(f), _paths_of_cgroups(f)),
    "nodes": lambda f: _words(_CPU_LIST),
    "comm": lambda f: {**_text(tables.COMM_PATTERN), "type": _WORD_OR_COUNT},
    "cpu_max": lambda f: _text(tables.CPU_MAX_PATTERN),
    "us": lambda f: _text(fields.DURATION_PATTERN),
    "switch": lambda f: {"type": "boolean"},
    "clamp": lambda f: _text(tables.CLAMP_PATTERN),
    "size": lambda f: {**_text(tables.SIZE_PATTERN), "type": ["string", "integer"], "minimum": 0},
    "limit": lambda f: {
        "anyOf": [{"const": "max"}, {"type": "integer", "minimum": int(f.low), "maximum": int(f.high)}]
    },
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


def _open(table: Table) -> Schema:
    """As ``_object``, of a mapping that may also have ``use``, which then may bring what is required."""
    shape = _object(table)
    shape["properties"] = {**shape["properties"], **_USE}
    if "required" in shape:
        shape["anyOf"] = [{"required": shape.pop("required")}, {"required": ["use"]}]
    return shape


def _named(item: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"pattern": f"^({fields.NAME_PATTERN})$"}, "additionalProperties": item}


def _one_of_keys(forms: dict[str, Schema], about: dict[str, str]) -> Schema:
    properties = {name: {"description": about[name], **form} for name, form in forms.items()} | _USE
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
        "except": _ref("cpuset"),
    }
    shape = _one_of_keys(forms, tables.CPUSET)
    within = {"description": tables.WITHIN_ABOUT, "anyOf": [{"const": "all"}, _ref("cpuset")]}
    shape["properties"] = {**shape["properties"], tables.WITHIN: within}
    beside: list[Schema] = [{"required": [key]} for key in (*tables.PARTS, "use")]
    return {
        **shape,
        "maxProperties": 2,
        "if": {"required": [tables.WITHIN]},
        "then": {"anyOf": beside},
        "else": {"maxProperties": 1},
    }


def _affinity() -> Schema:
    cpus = {"anyOf": [_words(_CPU_LIST), _ref("cpuset")]}
    each = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"each": {"type": "array", "minItems": 1, "items": cpus}, **_USE},
        "minProperties": 1,
    }
    words = [{"const": word, "description": about} for word, about in tables.AFFINITIES.items()]
    lowest = {"type": "object", "additionalProperties": False, "properties": {"lowest": _field(tables.LOWEST), **_USE}}
    return {"anyOf": [*words, *cpus["anyOf"], each, {**lowest, "minProperties": 1}]}


def _mem_policy() -> Schema:
    nodes = dict.fromkeys(tables.MEM_POLICIES, _words(_CPU_LIST))
    return {"anyOf": [{"const": "local"}, _one_of_keys(nodes, tables.MEM_POLICIES)]}


def _op() -> Schema:
    """An op has its own keys; without ``op``, ``use`` brings it."""
    kinds = []
    for name, table in tables.OPS.items():
        shape = _open(table)
        shape["properties"]["op"] = {"const": name}
        kinds.append({"title": name, "description": tables.OP_ABOUT[name], **shape})
    return {"type": "object", "anyOf": kinds}


def _hold() -> Schema:
    fraction: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": tables.MAX_HOLD_FRACTION}
    return {"anyOf": [fraction, _field(tables.HOLD), _open(tables.LOOP)]}


def _of_metrics(item: Schema) -> Schema:
    names = {"pattern": f"^({tables.PAYLOAD_METRIC_PATTERN})$"}
    return {"type": "object", "properties": _USE, "propertyNames": names, "additionalProperties": item}


def _payload_parts() -> dict[str, Schema]:
    value = _field(tables.METRIC_VALUE)
    name: Schema = {"type": ["string", "number"], "pattern": f"^({tables.PAYLOAD_METRIC_PATTERN})$"}
    return {
        "payloads": _named(_open(tables.PAYLOAD)),
        "payload_runs": {"type": "array", "minItems": 1, "items": {"anyOf": [_NAME, _open(tables.RUN)]}},
        "payload_metrics": _of_metrics(_open(tables.PAYLOAD_METRIC)),
        "polarity": {"anyOf": [_field(tables.POLARITY), _open(tables.TARGET)]},
        "payload_checks": _open(tables.PAYLOAD_CHECKS),
        "exit_code": {"anyOf": [_field(tables.EXIT_CODE), {"const": "any"}]},
        "payload_metric_names": {"type": "array", "minItems": 1, "items": name},
        "payload_limits": _of_metrics(value),
        "payload_ranges": _of_metrics(_tuple(value, value)),
    }


def _test() -> Schema:
    """Its cgroups, or its steps."""
    brings: list[Schema] = [{"required": [key]} for key in ("cgroups", "steps", "use")]
    return {**_open(fields.TEST), "anyOf": brings}


def _matrix_of_test() -> Schema:
    scalar: Schema = {"type": ["string", "number", "boolean"]}
    values: list[Schema] = [
        {"type": "array", "minItems": 1, "items": scalar},
        {"type": "object", "minProperties": 1},
    ]
    return {"type": "object", "minProperties": 1, "properties": _USE, "additionalProperties": {"anyOf": values}}


def _params_of_their_types() -> list[Schema]:
    """A parameter is allowed only beside its own work type, or where ``use`` may bring that."""
    owners = {key: [name for name, _ in of] for key, of in tables.PARAMS.items()}
    return [_beside(key, names) for key, names in {**owners, "phases": [*tables.PHASED]}.items()]


def _beside(key: str, names: list[str]) -> Schema:
    work = {"const": names[0]} if len(names) == 1 else {"enum": names}
    types: Schema = {"anyOf": [{"required": ["use"]}, {"required": ["work"], "properties": {"work": work}}]}
    return {"if": {"required": [key]}, "then": types}


def _phases() -> Schema:
    kinds = {kind: _field(field) for kind, field in tables.PHASES.items()}
    phase = _one_of_keys(kinds, {kind: field.about for kind, field in tables.PHASES.items()})
    return {"type": "array", "minItems": 1, "maxItems": MAX_PHASES, "items": phase}


def _works_alone() -> Schema:
    return {"if": {"required": ["works"]}, "then": {"properties": dict.fromkeys(tables.WORK, False)}}


def _scheduler() -> Schema:
    kinds: list[Schema] = [{"required": [key]} for key in fields.SCHEDULER_KINDS]
    needs = {"features": ["crate"], "enable": ["builtin"], "disable": ["builtin"]}
    return {**_open(fields.SCHEDULER), "anyOf": [{"oneOf": kinds}, {"required": ["use"]}], "dependentRequired": needs}


def _expect() -> Schema:
    """A word, or a mapping."""
    return {"anyOf": [{"enum": list(fields.EXPECT["end"].choices)}, _open(fields.EXPECT)]}


def _schedulers() -> Schema:
    eevdf = {"description": "the kernel's own, which always exists", **_open(fields.SCHEDULER)}
    others = (*fields.SCHEDULER_KINDS, "features")
    eevdf["properties"].update({key: False for key in others if key != "builtin"})
    return {**_named(_ref("scheduler")), "properties": {"eevdf": eevdf}}


def _preset() -> Schema:
    return {**_object(fields.PRESET), "oneOf": [{"required": ["topology"]}, {"required": ["nodes"]}]}


def _definitions() -> Schema:
    rules = _params_of_their_types()
    return {
        "kernels": {
            **_named({"anyOf": [{"type": ["string", "number"], "minLength": 1}, _object(fields.KERNEL)]}),
            "minProperties": 1,
        },
        "schedulers": _schedulers(),
        "scheduler": _scheduler(),
        "presets": _named({"anyOf": [_text(fields.LABEL_PATTERN), _preset()]}),
        "numa_nodes": {"type": "array", "minItems": 1, "items": {**_object(fields.NUMA_NODE), "minProperties": 1}},
        "llcs": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}},
        "distances": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "define": _named({"type": "object"}),
        **_payload_parts(),
        "tests": {**_named(_test()), "minProperties": 1},
        "cgroups": {"type": "array", "minItems": 1, "items": {"anyOf": [_paths_of_cgroups(_ANY), _ref("cgroup")]}},
        "cgroup": {**_open(tables.CGROUP), "allOf": [*rules, _works_alone()]},
        "works": {"type": "array", "minItems": 1, "items": {**_open(tables.WORK), "allOf": rules}},
        "steps": {"type": "array", "minItems": 1, "items": _open(tables.STEP)},
        "backdrop": _open(tables.BACKDROP),
        "ops": {"type": "array", "minItems": 1, "items": _op()},
        "hold": _hold(),
        "matrix": _matrix_of_test(),
        "count": _open(tables.COUNT),
        "cpuset": _cpuset(),
        "isolcpus": {"anyOf": [_ref("cpuset"), _open(tables.ISOLCPUS)]},
        "affinity": _affinity(),
        "mem_policy": _mem_policy(),
        "phases": _phases(),
        "checks": _open(fields.CHECKS),
        "build": _open(fields.BUILD),
        "expect": _expect(),
        "scheduler_ops": {"type": "array", "minItems": 1, "items": _open(fields.SCHEDULER_OP)},
        "constraints": _open(fields.CONSTRAINTS),
        "metric": {"enum": list(METRICS)},
        "perf_delta": {"type": "array", "minItems": 1, "items": {"anyOf": [_ref("metric"), _open(fields.PERF_GATE)]}},
        "compare": {"type": "array", "minItems": 2, "maxItems": 2, "uniqueItems": True, "items": _WORD},
        "matrices": _named(_object(fields.MATRIX)),
        "points": {"type": "array", "items": {**_object(fields.POINT), "minProperties": 1}},
    }


def _top() -> Schema:
    """The tests may be in the files that it includes."""
    shape = _object(fields.TOP)
    shape["anyOf"] = [{"required": shape.pop("required")}, {"required": ["include"]}]
    return shape


def document() -> Schema:
    """The whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ktstr.yaml",
        "description": "Kernels, schedulers, topologies, tests and matrices for ktstr.",
        **_top(),
        "$defs": _definitions(),
    }


def render() -> str:
    """The schema as the text of ``schemas/ktstr.schema.json``."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render(), end="")
