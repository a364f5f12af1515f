"""A plan of one cell whose kernel and image are not in the cache; whoever gets that far fails."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from ktstr.cancel import Cancel
from ktstr.config.load import parse
from ktstr.config.model import CellKey
from ktstr.config.project import Project
from ktstr.config.topology import Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.tokens import TokenPool
from ktstr.kernels.spec import DebSpec
from ktstr.options import GraphOptions
from ktstr.planning.images import Image
from ktstr.planning.kernel import Archive, Entry, Kernel
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, Judged, Point
from ktstr.planning.request import Request
from ktstr.planning.steps import Steps
from ktstr.progress import Progress
from ktstr.results.judged import FILE, read_rows
from ktstr.vm.machine import Machine

TEXT = b"{kernels: {k: 6.14}, tests: {pair: {cgroups: [{name: left, workers: 2}]}}}"
NAME = "pair/one/default/eevdf/icount-s7"
MACHINE = cast(Machine, SimpleNamespace(accel="icount", digest="f" * 64))  # nobody starts it


def cell(folder: Path) -> CellPlan:
    config = parse(TEXT, Path("ktstr.yaml"), validated=True)
    test, scheduler, topology = config.tests["pair"], config.schedulers["eevdf"], Topology.parse("1n1l1c1t")
    spec, cache = DebSpec("forky", "cloud-amd64"), Cache(folder / "cache")
    point = Point(
        accel="icount", preset="one", test=test, scheduler=scheduler, topology=topology,
        kernel=Kernel("default", spec, Entry("key", "a" * 64, cache), (), "kernel:default"),
        image=Image("image:agent-only", "b" * 64, folder / "cache/images" / ("b" * 64) / "image.cpio", None),
        memory_mib=64, host_cpus=1, kernel_args=(), needs=(), command=(), parking=("machine",), basis="d" * 64,
    )  # fmt: skip
    return CellPlan(NAME, CellKey("pair", "one", "default", "eevdf", 7), "c" * 64, point)


def plan(
    folder: Path,
    *,
    progress: Progress | None = None,
    environ: dict[str, str] | None = None,
    options: GraphOptions | None = None,
) -> Plan:
    """The plan, made now: with the rows that earlier ones left in the folder."""
    project = Project(folder, folder, folder / "target/ktstr")
    request = Request(
        project,
        environ or {},
        options or GraphOptions(),
        progress or Progress(io.StringIO()),
        TokenPool(1, 64),
        Cancel(),
    )
    cache = Cache(folder / "cache")
    config = parse(TEXT, Path("ktstr.yaml"), validated=True)
    rows = {} if request.environ.get("KTSTR_SIDECAR_DIR") else read_rows(project.state / FILE)
    archive = Archive(cache, Apt(cache.apt, True, request.environ))
    return Plan(request, config, archive, Steps(), None, Judged(rows, ()), (cell(folder),), machine=MACHINE)
