"""``kernel_list``, ``kernel_clean``, and what ``kernel_build`` says in the end."""

from __future__ import annotations

import json
import sys

from ktstr.errors import EXIT_ENVIRONMENT, HostError, InputError
from ktstr.host.cache import Cache, cache_root
from ktstr.host.download import Net
from ktstr.kernels import cleaning, listing
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.releases import active_series, expand_range
from ktstr.kernels.spec import RangeSpec, parse_spec
from ktstr.kernels.version import parse_version
from ktstr.tasks.session import Session

LIST_CONNECT_S = 3.0  # a list must not wait long for a mark
LIST_STALL_S = 10.0


def _site(run: Session) -> KernelOrg:
    base = run.environ.get("KTSTR_KERNEL_ORG")
    return KernelOrg(base, Net(run.environ, run.flag("offline"), LIST_CONNECT_S, LIST_STALL_S, run.cancel))


def kernel_list(run: Session) -> None:
    """The kernels in the cache; with ``range=`` only the releases it stands for, and no cache."""
    text = run.text("range")
    if text is not None:
        run.report.append(_range(run, text))
        return
    cache = Cache(cache_root(run.environ))
    rows, beside = listing.read_cache(cache), listing.leftovers(cache)
    active, error = _active(run, rows)
    render = listing.to_json if run.flag("json") else listing.to_text
    run.report.append(render(cache, rows, beside, active, error))


def _range(run: Session, text: str) -> str:
    spec = parse_spec(text, run.project.stand) if ".." in text else None
    if not isinstance(spec, RangeSpec):
        raise InputError(f"range={text}: does not parse as a range, expected START..END, such as 6.12..6.14")
    start, end = parse_version(spec.start), parse_version(spec.end)
    assert start is not None and end is not None
    versions = expand_range(_site(run).releases(), start, end)
    return listing.range_json(text, versions) if run.flag("json") else listing.range_text(versions)


def _active(run: Session, rows: tuple[listing.Row, ...]) -> tuple[frozenset[str] | None, str | None]:
    """The series that are still maintained, asked only when a kernel in the list has a version."""
    if not any(row.version for row in rows):
        return None, None
    try:
        return active_series(_site(run).releases()), None
    except HostError as err:
        return None, err.message


def kernel_clean(run: Session) -> None:
    """Remove kernels; asks first, unless ``force=1``."""
    keep = run.number("keep")
    if keep is not None and run.flag("corrupt_only"):
        raise InputError("found keep= and corrupt_only=1, expected one of them")
    cache = Cache(cache_root(run.environ))
    rows, beside = listing.read_cache(cache), listing.leftovers(cache)
    victims = cleaning.choose(rows, beside, keep=keep, corrupt_only=run.flag("corrupt_only"))
    if run.flag("dry_run") or not victims or not _agreed(run, victims):
        run.report.append(_would(run, victims))
        return
    cleaned = cleaning.perform(cache, victims)
    run.report.append(cleaning.to_json(cleaned) if run.flag("json") else cleaning.to_text(cleaned))
    if cleaned.failed:
        run.exit_codes.append(EXIT_ENVIRONMENT)


def _would(run: Session, victims: tuple[cleaning.Victim, ...]) -> str:
    if run.flag("json"):
        return json.dumps({"would_remove": [str(victim.path) for victim in victims]}, indent=2) + "\n"
    return "".join(f"{victim.path} ({victim.why})\n" for victim in victims) or "nothing to remove\n"


def _agreed(run: Session, victims: tuple[cleaning.Victim, ...]) -> bool:
    """Whether the user wants it: by ``force=1``, or by ``y`` on a terminal."""
    if run.flag("force"):
        return True
    if not sys.stdin.isatty():
        raise InputError("requires a terminal to ask on, or force=1", fix="doit kernel_clean force=1")
    for victim in victims:
        sys.stderr.write(f"{victim.path} ({victim.why})\n")
    sys.stderr.write(f"remove these {len(victims)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() in ("y", "Y")


def built(run: Session) -> str:
    """Key and place of each kernel asked for; those that could not be built are counted at the end."""
    assert run.plan is not None
    steps = run.plan.steps["kernel"]
    done = [step for step in steps if step.task("kernel") not in run.failures and step.target.is_file()]
    if run.flag("json"):
        rows = [{"key": step.target.parent.name, "path": str(step.target.parent)} for step in done]
        return json.dumps({"built": rows, "failed": [s.name for s in steps if s not in done]}, indent=2) + "\n"
    lines = [f"{step.target.parent.name}  {step.target.parent}" for step in done]
    failed = [step.name for step in steps if step not in done]
    if failed and len(steps) > 1:
        lines.append(f"{len(failed)}/{len(steps)} version(s) failed: {', '.join(failed)}")
    return "".join(f"{line}\n" for line in lines)
