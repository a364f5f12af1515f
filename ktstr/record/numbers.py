"""Kinds of number that records and sidecars are made of, with their bounds.

A number that may be written with or without a fraction keeps the form it was written in, so that a document read and
written again has the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0)]
MAX_CPU = 511  # of a guest
Cpu: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_CPU)]
Cpus: TypeAlias = Annotated[tuple[Cpu, ...], Meta(extra_json_schema={"uniqueItems": True})]
CgroupIndex: TypeAlias = Annotated[int, Meta(ge=-1)]

Number: TypeAlias = int | float
NotNegative: TypeAlias = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
Percent: TypeAlias = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]


def refuse_repeats(name: str, values: Sequence[int]) -> None:
    """Raise ValueError naming the field when one of its values is there twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"{name}: found a value twice, expected each once")
