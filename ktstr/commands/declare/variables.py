"""Reading ``name=value`` inputs into a command's options, and what ``doit help`` says of them.

The command line wins over the ``KTSTR_<NAME>`` environment variable, which wins over the default. List
variables take commas and repeats; a scalar given twice is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.options import METADATA, Variable

T = TypeVar("T")


def variables_of(options: type[Any]) -> Mapping[str, Variable]:
    """The variables of an options class by name, those of its groups included, in order."""
    hints = get_type_hints(options)
    named: dict[str, Variable] = {}
    for item in fields(options):
        if METADATA in item.metadata:
            named[item.name] = item.metadata[METADATA]
        elif is_dataclass(hints[item.name]):
            named.update(variables_of(hints[item.name]))
    return named


def environment_name(name: str) -> str:
    """The environment variable that is a variable's default."""
    return f"KTSTR_{name.upper()}"


def refuse_unknown(given: Iterable[str], allowed: Iterable[str], tasks: str, every: Iterable[str]) -> None:
    """Raise InputError for a variable that none of the tasks takes. ``every``: all variables of all commands."""
    allowed = tuple(allowed)
    for name in given:
        if name in allowed:
            continue
        every = tuple(every)
        first = tasks.partition(" ")[0]
        if name in every:
            raise InputError(f"{name}=: the task {tasks} takes no variable {name!r}", fix=f"doit help {first}")
        hint = nearest(name, allowed) or nearest(name, every)
        raise InputError(
            f"{name}=: found an unknown variable {name!r}, expected one of the variables of {tasks}"
            + (f", nearest match {hint!r}" if hint else ""),
            fix=f"doit help {first}",
        )


def read_options(options: type[T], given: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> T:
    """An options class from what was given and the environment. Raises InputError for a bad value."""
    hints = get_type_hints(options)
    values: dict[str, Any] = {}
    for item in fields(options):  # type: ignore[arg-type]
        if METADATA in item.metadata:
            values[item.name] = _value(item.name, item.metadata[METADATA], given, environ)
        else:
            values[item.name] = read_options(hints[item.name], given, environ)
    return options(**values)


def _value(name: str, var: Variable, given: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> object:
    if name in given:
        return _parse(name, var, given[name], f"{name}=")
    text = environ.get(environment_name(name), "").strip() if var.environment else ""
    if text and not any(rival in given for rival in var.rivals):
        return _parse(name, var, [text], environment_name(name))
    return var.default


def _parse(name: str, var: Variable, given: Sequence[str], origin: str) -> object:
    if var.kind.many:
        items = (part.strip() for text in given for part in text.split(","))
        return tuple(_parse_one(name, var, item, origin) for item in items)
    if len(given) > 1:
        raise InputError(f"{origin}: given {len(given)} times ({', '.join(given)}), expected once")
    return _parse_one(name, var, given[0], origin)


def _parse_one(name: str, var: Variable, text: str, origin: str) -> object:
    try:
        return var.kind.parse(text)
    except ValueError as err:
        hint = nearest(text, var.kind.choices)
        expected = str(err) + (f"; nearest: {hint}" if hint else "")
        raise InputError(f"{origin}: found {text!r}, {expected}", fix=f"{name}= {var.help}") from None
