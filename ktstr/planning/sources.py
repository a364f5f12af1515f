"""Kernels that are built from sources: what these are now, and the steps that fetch and build them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.config.model import KernelDecl
from ktstr.errors import Changed, HostError, InputError
from ktstr.host.cache import Cache
from ktstr.host.download import Net
from ktstr.kernels.build import BUILD_WAIT_S, BuildOptions, build_kernel, lookup_built
from ktstr.kernels.cache import key_part, metadata_path
from ktstr.kernels.debsrc import pin_same_source, series_of
from ktstr.kernels.fetch import KIND as SOURCES
from ktstr.kernels.fetch import fetch, fetched, source_key, source_marker
from ktstr.kernels.kconfig import Kconfig
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.origin import Origin
from ktstr.kernels.origins import resolve_sources
from ktstr.kernels.pahole import needs_newer
from ktstr.kernels.patch import read_patch
from ktstr.kernels.patched import BUILDS, bench, check_fits, patched_tree, unpatched, with_patches
from ktstr.kernels.recipe import Recipe, choose_kconfig
from ktstr.kernels.spec import DebSourceSpec, DebSpec, Spec, TreeSpec
from ktstr.kernels.toolchain import KernelToolchain, find_toolchain
from ktstr.kernels.tree import tree_origin
from ktstr.pins.lock import GitPin, Pin
from ktstr.planning.kernel import Archive, Entry, Kernel
from ktstr.planning.pins import Pins
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps
from ktstr.planning.tools import ToolSteps
from ktstr.planning.turn import build_turn
from ktstr.schedulers.artifact import KernelSources


@dataclass(frozen=True)
class _Toolchain:
    """What builds a kernel, and the tasks that fetch what of it is not this machine's."""

    tools: KernelToolchain
    needs: tuple[str, ...]


class SourceKernels:
    """Plans kernels from releases, git, trees and distribution sources."""

    def __init__(self, request: Request, archive: Archive, pins: Pins, steps: Steps) -> None:
        self._request, self._pins, self._steps = request, pins, steps
        self._cache, self._apt = archive.cache, archive.apt
        self._tools = ToolSteps(archive, pins, steps)
        environ = request.environ
        net = Net(environ, request.options.fetching.offline, cancel=request.cancel)
        self._site = KernelOrg(environ.get("KTSTR_KERNEL_ORG"), net)

    def origins(self, spec: Spec, name: str = "") -> tuple[Origin, ...]:
        """What a spec of sources means now; a range several. Raises InputError, HostError."""
        if isinstance(spec, TreeSpec):
            return (tree_origin(spec),)
        update = self._pins.updating(name, str(spec))
        try:
            found = resolve_sources(
                spec, self._pins.lock, cache=self._cache, apt=self._apt, site=self._site, update=update
            )
        except HostError as err:
            if str(spec) in err.message:
                raise
            raise HostError(f"kernel {spec}: {err.message}", fix=err.fix) from None
        self._pins.keep_kernels(found.pins)
        return found.origins

    def plan(self, decl: KernelDecl, label: str, spec: Spec, folder: Path) -> Kernel:
        """The kernel, and its steps. ``folder`` is where its fragments of configuration are sought."""
        (origin,) = self.origins(spec, decl.name)
        if decl.patches:
            origin = self._patched(decl, origin)
        toolchain = self._toolchain(decl, origin)
        recipe = Recipe(origin, self._kconfig(decl, origin, folder), toolchain.tools)
        if not recipe.stored:
            label += "_dirty"
        cache = self._cache if recipe.stored else self._unstored()
        fetching = () if origin.tree is not None else (self._source(label, origin, recipe),)
        task = self._steps.add(
            Step(
                "kernel",
                label,
                metadata_path(recipe.key, cache),
                lambda: self._build(label, recipe, cache),
                (*toolchain.needs, *fetching),
                lambda: self._lookup(recipe, cache),
            )
        )
        place = Entry(recipe.key, recipe.identity, cache)
        sources = self._tree(label, origin)
        return Kernel(label, spec, place, decl.kargs, task, commit_of(origin), lambda: sources)

    def _patched(self, decl: KernelDecl, origin: Origin) -> Origin:
        """The sources with the declared patches; these are tried at once where the sources are at hand."""
        if origin.tree is not None:
            raise InputError(
                f"{decl.where}: kernel {decl.name}: found patch beside the tree {origin.spec}, expected sources that"
                " are fetched: a tree of yours is never written to",
                fix=f"apply it there, or declare git+{origin.tree.path}#REF",
            )
        patched = with_patches(origin, tuple(map(read_patch, decl.patches)))
        if (source := fetched(origin, self._cache)) is not None:
            check_fits(patched, source)
        return patched

    def of_package(self, label: str, spec: DebSpec, kernel: Pin) -> KernelSources:
        """The sources that a distribution's kernel was built from: its source package of the same version.

        Raises HostError when that cannot be asked for, or the archive has another version of it by now.
        """
        name = f"{spec} sources"
        known = self._pins.lock.kernels.get(name)
        pin = known if isinstance(known, Pin) and known.version == kernel.version else None
        if pin is None:
            pin = pin_same_source(spec, kernel.version, self._apt)
            self._pins.keep_kernels({name: pin})
        stem = f"{key_part(pin.version)}-debsrc"
        return self._tree(label, Origin(DebSourceSpec(series_of(pin.version)), stem, pin.version, pin.digest, pin))

    def _tree(self, label: str, origin: Origin) -> KernelSources:
        """The tree of an origin, for what is built from it beside the kernel."""

        @contextmanager
        def tree() -> Iterator[Path]:
            progress = self._request.progress.fetching(label)
            base = unpatched(origin)
            folder = fetch(base, self._cache, self._apt, self._site, on_progress=progress)
            if origin.tree is None:
                with self._cache.reading(SOURCES, source_key(base)), self._with_patches(origin, folder) as made:
                    yield made
                return
            yield folder
            if tree_origin(TreeSpec(origin.tree.path)).identity != origin.identity:
                raise Changed(f"kernel tree {origin.tree.path}")

        return KernelSources(origin.identity, f"kernel {origin.spec}", tree)

    @contextmanager
    def _with_patches(self, origin: Origin, source: Path) -> Iterator[Path]:
        """The fetched tree ``source``, or the one with the origin's patches while nobody else may change it."""
        if not origin.patches:
            yield source
            return
        folder = bench(origin, self._cache)
        with self._cache.writing(BUILDS, folder.name, timeout_s=BUILD_WAIT_S):
            yield patched_tree(origin, source, folder)

    def _unstored(self) -> Cache:
        """Where kernels of trees with uncommitted changes live: with the results, not in the cache."""
        return Cache(self._request.project.unstored, self._request.cancel)

    def _lookup(self, recipe: Recipe, cache: Cache) -> object:
        """What was built already, unless it is to be built again."""
        return None if self._request.rebuild.force else lookup_built(recipe, cache)

    def _kconfig(self, decl: KernelDecl, origin: Origin, folder: Path) -> Kconfig:
        """How it is configured: by the variables, else by its declaration, else by default."""
        given = self._request.options.building
        near = self._request.project.stand if given.kconfig else folder
        return choose_kconfig(origin, given.kconfig or decl.kconfig, near)

    def _toolchain(self, decl: KernelDecl, origin: Origin) -> _Toolchain:
        """What builds it: this machine's tools, with a pahole of ours where the machine's is too old for it."""
        given = self._request.options.building
        tools = find_toolchain(self._request.environ, given.CC or decl.cc, given.LLVM or decl.llvm)
        if not needs_newer(origin, tools.pahole):
            return _Toolchain(tools, ())
        return _Toolchain(tools.with_pahole(self._tools.pahole()), ("tools:pahole",))

    def _source(self, label: str, origin: Origin, recipe: Recipe) -> str:
        """The step that fetches the sources; it has nothing to do while the kernel is in the cache."""
        progress, base = self._request.progress, unpatched(origin)
        return self._steps.add(
            Step(
                "source",
                label,
                source_marker(base, self._cache),
                lambda: fetch(base, self._cache, self._apt, self._site, on_progress=progress.fetching(label)),
                fresh=lambda: self._lookup(recipe, self._cache) or fetched(base, self._cache),
            )
        )

    def _build(self, label: str, recipe: Recipe, cache: Cache) -> None:
        """Build, when it is this kernel's turn."""
        request, rebuild = self._request, self._request.rebuild
        with build_turn(request) as cpus:
            if cpus is None:
                return
            options = BuildOptions(cpus, request.progress.building(label), rebuild.force, rebuild.clean)
            build_kernel(recipe, cache, self._cache, options)


def commit_of(origin: Origin) -> str | None:
    """What the sidecar calls the sources' commit: 12 hex digits, ``-dirty`` behind them when files differ."""
    if isinstance(origin.pin, GitPin):
        return origin.pin.commit[:12]
    tree = origin.tree
    if tree is None or tree.commit is None:
        return None
    return tree.commit[:12] + ("-dirty" if tree.dirty else "")
