"""JSON Schemas (2020-12) of documents that are made from types: failure dumps, what shards leave, and the output of
``doit verifier`` and ``doit explore``.

``python -m ktstr.record.dump_schema FOLDER`` rewrites them there for other programs; a test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from msgspec import Struct

from ktstr.record.dump import FailureDump
from ktstr.record.exploration import Exploration
from ktstr.record.part import Part
from ktstr.record.sidecar_schema import Schema, definitions_of
from ktstr.record.verification import VerifierReport

DOCUMENTS: dict[str, tuple[str, type[Struct]]] = {
    "explore.schema.json": ("ktstr explore", Exploration),
    "failure_dump.schema.json": ("ktstr failure dump", FailureDump),
    "shard_part.schema.json": ("ktstr part of a run", Part),
    "verifier.schema.json": ("ktstr verifier", VerifierReport),
}
"""Each file's title and type."""


def document(title: str, struct: type[Struct]) -> Schema:
    """The schema of a type."""
    definitions = definitions_of(struct)
    top = definitions.pop(struct.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **top,
        "$defs": definitions,
    }


def render(name: str) -> str:
    """The text of a file of ``DOCUMENTS``."""
    return json.dumps(document(*DOCUMENTS[name]), indent=1, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write all of them. Raises OSError."""
    for name in DOCUMENTS:
        (folder / name).write_text(render(name), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
