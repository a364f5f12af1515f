"""``doit funify``: JSON with the names in it replaced."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import FLAG, PATH, TEXT, variable


@dataclass(frozen=True)
class Options:
    """What is replaced, and by what."""

    input: str = variable(PATH, "a JSON file, or - for standard input", "-")
    seed: str | None = variable(TEXT, "the same names for the same text; default: other names each time", None)
    pretty: bool = variable(FLAG, "indent the JSON", False)


def run(invocation: Invocation, options: Options) -> Report:
    """The document, with other names and numbers where they could tell whose it is."""
    from ktstr.files import parse_json, read_json_value
    from ktstr.results.funify import INPUT_CAP, funify, hash_key

    if options.input == "-":
        document = parse_json(sys.stdin.buffer.read(INPUT_CAP + 1), "standard input", INPUT_CAP)
    else:
        document = read_json_value(invocation.project.stand / options.input, INPUT_CAP)
    made = funify(document, hash_key(options.seed))
    layout = {"indent": 2} if options.pretty else {"separators": (",", ":")}
    return Report(json.dumps(made, ensure_ascii=False, **layout) + "\n")


COMMAND = Command("funify", "Results", "a JSON document under other names, to show to others", Options, run)
