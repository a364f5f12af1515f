"""``doit kernel_list``: what is in the kernel cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import HostError, InputError
from ktstr.options import FLAG, LIST, WORD, Kind, variable, word

if TYPE_CHECKING:
    from ktstr.kernels.kernel_org import KernelOrg
    from ktstr.kernels.listing import Row

LIST_CONNECT_S = 3.0  # a list must not wait long for a mark
LIST_STALL_S = 10.0
RANGE: Kind[str] = Kind("range", word)


@dataclass(frozen=True)
class Options:
    """``kconfig``, ``CC`` and ``LLVM`` are taken so that one environment serves building and listing."""

    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    range: str | None = variable(RANGE, "print the releases that A..B stands for, and nothing else", None)
    offline: bool = variable(FLAG, "never touch the network", False)
    kconfig: tuple[str, ...] = variable(LIST, "how kernels are built: minimal, full or tree, then fragments", ())
    CC: str | None = variable(WORD, "the compiler that builds kernels, as in make CC=", None)
    LLVM: str | None = variable(WORD, "build kernels with LLVM, as in make LLVM=1", None)


def _site(invocation: Invocation, options: Options) -> KernelOrg:
    from ktstr.host.download import Net
    from ktstr.kernels.kernel_org import KernelOrg

    base = invocation.environ.get("KTSTR_KERNEL_ORG")
    net = Net(invocation.environ, options.offline, LIST_CONNECT_S, LIST_STALL_S, invocation.cancel)
    return KernelOrg(base, net)


def run(invocation: Invocation, options: Options) -> Report:
    """The kernels in the cache; with ``range=`` only the releases it stands for, and no cache."""
    from ktstr.host.cache import Cache, cache_root
    from ktstr.kernels import listing

    if options.range is not None:
        return Report(_range(invocation, options, options.range))
    cache = Cache(cache_root(invocation.environ))
    rows, beside = listing.read_cache(cache), listing.leftovers(cache)
    active, error = _active(invocation, options, rows)
    render = listing.to_json if options.json else listing.to_text
    return Report(render(cache, rows, beside, active, error))


def _range(invocation: Invocation, options: Options, text: str) -> str:
    from ktstr.kernels import listing
    from ktstr.kernels.releases import expand_range
    from ktstr.kernels.spec import RangeSpec, parse_spec
    from ktstr.kernels.version import parse_version

    spec = parse_spec(text, invocation.project.stand) if ".." in text else None
    if not isinstance(spec, RangeSpec):
        raise InputError(f"range={text}: does not parse as a range, expected START..END, such as 6.12..6.14")
    start, end = parse_version(spec.start), parse_version(spec.end)
    assert start is not None and end is not None
    versions = expand_range(_site(invocation, options).releases(), start, end)
    return listing.range_json(text, versions) if options.json else listing.range_text(versions)


def _active(
    invocation: Invocation, options: Options, rows: tuple[Row, ...]
) -> tuple[frozenset[str] | None, str | None]:
    """The series that are still maintained, asked only when a kernel in the list has a version."""
    from ktstr.kernels.releases import active_series

    if not any(row.version for row in rows):
        return None, None
    try:
        return active_series(_site(invocation, options).releases()), None
    except HostError as err:
        return None, err.message


COMMAND = Command("kernel_list", "Kernels", "what is in the kernel cache", Options, run)
