"""``work_type=``: what swappable workers do in place of what is declared."""

from __future__ import annotations

from dataclasses import replace

from ktstr.config.model import Backdrop, Config, Step, TestDecl
from ktstr.config.problems import nearest_of
from ktstr.config.scenario import Cgroup, Work
from ktstr.errors import InputError
from ktstr.record.vocabulary import RENAMED_WORK_TYPES, WORK_TYPES


def with_work_type(config: Config, name: str | None) -> Config:
    """``config`` with each swappable work of a cgroup doing ``name``, with that type's own parameters.

    A work whose workers are no multiple of the type's group stays as it is declared, and so do those that an op starts.
    None changes nothing. Raises InputError for a type that there is not, and where no work is swappable.
    """
    if name is None:
        return config
    if name not in WORK_TYPES:
        hint = RENAMED_WORK_TYPES.get(name) or nearest_of(name, WORK_TYPES)
        raise InputError(
            f"work_type={name}: found no such work type, expected one of {', '.join(WORK_TYPES)}"
            + (f", nearest match {hint!r}" if hint else ""),
            fix=f"work_type={hint}" if hint else None,
        )
    if WORK_TYPES[name].has_phases:
        raise InputError(f"work_type={name}: found a type that is what its phases are, expected another")
    if not any(work.swappable for test in config.tests.values() for work in _works(test)):
        raise InputError(
            f"work_type={name}: found no work with swappable: true, expected one at least",
            fix="declare swappable: true for those workers that it may change",
        )
    return replace(config, tests={key: _test(test, name) for key, test in config.tests.items()})


def _works(test: TestDecl) -> tuple[Work, ...]:
    """The works of a test's cgroups."""
    cgroups = (*test.backdrop.cgroups, *(cgroup for step in test.all_steps for cgroup in step.cgroups))
    return tuple(work for cgroup in cgroups for work in cgroup.works)


def _test(test: TestDecl, name: str) -> TestDecl:
    if not any(work.swappable for work in _works(test)):
        return test
    backdrop: Backdrop = replace(test.backdrop, cgroups=_cgroups(test.backdrop.cgroups, name))
    steps: tuple[Step, ...] = tuple(replace(step, cgroups=_cgroups(step.cgroups, name)) for step in test.steps)
    return replace(test, cgroups=_cgroups(test.cgroups, name), backdrop=backdrop, steps=steps)


def _cgroups(cgroups: tuple[Cgroup, ...], name: str) -> tuple[Cgroup, ...]:
    return tuple(replace(cgroup, works=tuple(_work(work, name) for work in cgroup.works)) for cgroup in cgroups)


def _work(work: Work, name: str) -> Work:
    facts = WORK_TYPES[name]
    params = tuple((param.name, param.default) for param in facts.params)
    group = facts.group([value for _, value in params])
    if not work.swappable or work.work_type == name or work.workers % group:
        return work
    return replace(work, work_type=name, params=params)
