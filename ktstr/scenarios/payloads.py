"""Declared payloads as entries of a program's table: where the image has them, and how they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ktstr.config.model import PayloadDecl
from ktstr.config.scenario import Work
from ktstr.errors import InputError
from ktstr.record.vocabulary import SchedPolicy
from ktstr.scenarios.places import Cpus
from ktstr.scenarios.program import OWN_CGROUP, Payload
from ktstr.vm.payload_image import program_place, start_folder, variables

CUSTOM = "Custom"


@dataclass(frozen=True)
class Placement:
    """Where and how a payload runs. ``work``: the Custom work that it is of, None for one of its own."""

    cgroup: int = OWN_CGROUP
    affinity: Cpus | None = None
    work: Work | None = None


def row(declared: PayloadDecl, args: tuple[str, ...] | None, placed: Placement) -> Payload:
    """Its entry; ``args``: over those that it declares."""
    work = placed.work
    return Payload(
        (program_place(declared), *(declared.args if args is None else args)),
        placed.cgroup,
        placed.affinity,
        variables(declared),
        start_folder(declared),
        "normal" if work is None else cast(SchedPolicy, work.policy),
        0 if work is None else work.priority,
        0 if work is None else work.nice,
    )


def declared_payload(payloads: Mapping[str, PayloadDecl], name: str, where: str) -> PayloadDecl:
    """The payload of this name. Raises InputError for one that is not declared."""
    if name not in payloads:
        known = ", ".join(payloads) or "none"
        raise InputError(f"{where}: found payload {name}, expected a declared one: {known}")
    return payloads[name]


def check_custom(work: Work) -> str:
    """The payload of a Custom work. Raises InputError for what a program of the user's cannot be given."""
    if work.payload is None:
        raise InputError(f"{work.where}: found work Custom without a payload, expected payload: NAME")
    if work.policy == "deadline" or work.mem_policy is not None:
        what = "policy deadline" if work.policy == "deadline" else "mem_policy"
        raise InputError(f"{work.where}: found {what} of work Custom, expected it of workers only")
    return work.payload


def is_custom(work: Work) -> bool:
    """Whether its workers are a program of the user's."""
    return work.work_type == CUSTOM
