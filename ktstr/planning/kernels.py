"""The kernels of one plan: what each name means, where its entry is, and the steps that make it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ktstr.config.model import Config, KernelDecl
from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.cpu_topology import allowed_cpus
from ktstr.host.download import Net
from ktstr.host.reserve import lock_dir, share, waiting
from ktstr.kernels import build, labels
from ktstr.kernels.build import BuildOptions, build_kernel, ensure, lookup_built, metadata_path
from ktstr.kernels.cache import KIND, lookup_entry
from ktstr.kernels.discover import Found, discover
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.fetch import fetch, fetched, source_marker
from ktstr.kernels.kernel_org import KernelOrg
from ktstr.kernels.origin import Origin
from ktstr.kernels.recipe import Recipe, choose_kconfig
from ktstr.kernels.resolve import resolve, resolve_cached, resolve_sources
from ktstr.kernels.spec import DebSpec, ImageSpec, KeySpec, RangeSpec, Spec, TreeSpec, parse_spec
from ktstr.kernels.toolchain import find_toolchain
from ktstr.kernels.tree import tree_origin
from ktstr.pins.lock import GitPin
from ktstr.planning.pins import Pins
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps

BUILD_MIB = 2048
CPUS_WAIT_S = 7200.0  # for runs that have the host to themselves


@dataclass(frozen=True)
class Archive:
    """Where artifacts are kept, and where those come from that are not made here."""

    cache: Cache
    apt: Apt


@dataclass(frozen=True)
class Entry:
    """A place in a cache, by the content that is or will be there."""

    key: str
    identity: str
    cache: Cache


@dataclass(frozen=True)
class Kernel:
    """A kernel of the plan. ``place.identity`` names its content before it is made; ``task`` makes it."""

    label: str
    spec: Spec
    place: Entry
    kargs: tuple[str, ...]
    task: str
    commit: str | None = None

    @property
    def identity(self) -> str:
        return self.place.identity

    @property
    def metadata(self) -> Path:
        return metadata_path(self.place.key, self.place.cache)

    @property
    def vmlinux(self) -> Path:
        return self.metadata.with_name("vmlinux")

    @property
    def btf(self) -> Path:
        return self.metadata.with_name("vmlinux.btf")

    def entry(self) -> KernelEntry | None:
        """What is in the cache; None before it is there."""
        return lookup_entry(self.place.cache, self.place.key, self.place.identity)

    def in_use(self) -> AbstractContextManager[None]:
        """Held while a machine boots from it: nobody replaces or removes the entry meanwhile."""
        return self.place.cache.reading(KIND, self.place.key)

    def version(self) -> str | None:
        """The release as the kernel prints it; None before it is in the cache."""
        entry = self.entry()
        return None if entry is None else entry.version


class Kernels:
    """Resolves names to kernels, each once."""

    def __init__(self, request: Request, config: Config, archive: Archive, pins: Pins, steps: Steps) -> None:
        self._request, self._config, self._pins, self._steps = request, config, pins, steps
        self._cache, self._apt = archive.cache, archive.apt
        environ = request.environ
        net = Net(environ, request.options.fetching.offline, cancel=request.cancel)
        self._site = KernelOrg(environ.get("KTSTR_KERNEL_ORG"), net)
        self._kernels: dict[str, Kernel] = {}

    def __getitem__(self, name: str) -> Kernel:
        return self._kernels[name]

    def resolve(self, names: Iterable[str]) -> None:
        """Resolve these before any cell is planned. Raises InputError or HostError naming the one that cannot be."""
        for name in names:
            if name not in self._kernels:
                self._kernels[name] = self._resolve(name)
        labels.check_collisions((kernel.label, str(kernel.spec)) for kernel in self._kernels.values())

    def names(self) -> tuple[str, ...]:
        """Everything a user may call these kernels by."""
        specs = (str(kernel.spec) for kernel in self._kernels.values())
        return tuple(dict.fromkeys((*self._kernels, *specs)))

    def expand(self, words: Sequence[str]) -> tuple[str, ...]:
        """``words`` with each range replaced by the versions it means."""
        found: dict[str, None] = {}
        for word in words:
            found.update(dict.fromkeys(self._versions(word)))
        return tuple(found)

    def discover(self) -> Found:
        """The kernel to use when none is named or declared."""
        return discover(self._cache, self._request.project.stand)

    def _versions(self, word: str) -> tuple[str, ...]:
        if word in self._config.kernels or ".." not in word:
            return (word,)
        spec = parse_spec(word, self._request.project.stand)
        if not isinstance(spec, RangeSpec):
            return (word,)
        return tuple(str(origin.spec) for origin in self._origins(spec))

    def _resolve(self, name: str) -> Kernel:
        declared = self._config.kernels.get(name)
        folder = self._request.project.stand if declared is None else self._config.path.parent
        spec = parse_spec(name if declared is None else declared.spec, folder)
        decl = declared or KernelDecl(name, str(spec))
        if isinstance(spec, RangeSpec):
            raise InputError(
                f"{decl.where}: kernel {name}: found the range {spec}, expected one kernel",
                fix=f"doit test kernel={spec}, or declare each version",
            )
        label = labels.label_of(spec) if declared is None else name
        if isinstance(spec, KeySpec):
            return self._cached(decl, label, spec)
        if isinstance(spec, DebSpec | ImageSpec):
            return self._prebuilt(decl, label, spec)
        return self._built(decl, label, spec, folder)

    def _cached(self, decl: KernelDecl, label: str, spec: KeySpec) -> Kernel:
        entry = resolve_cached(spec, self._cache)
        task = self._steps.add(
            Step(
                "kernel",
                label,
                entry.metadata,
                lambda: resolve_cached(spec, self._cache),
                fresh=lambda: lookup_entry(self._cache, entry.key, entry.identity),
            )
        )
        return Kernel(label, spec, Entry(entry.key, entry.identity, self._cache), decl.kargs, task)

    def _prebuilt(self, decl: KernelDecl, label: str, spec: DebSpec | ImageSpec) -> Kernel:
        update = self._pins.updating(decl.name, str(spec))
        resolution = resolve(spec, self._pins.lock, self._cache, self._apt, update=update)
        if resolution.pin is not None:
            self._pins.keep_kernels({str(spec): resolution.pin})
        task = self._steps.add(
            Step(
                "kernel",
                label,
                metadata_path(resolution.key, self._cache),
                lambda: ensure(resolution, self._cache, self._apt),
                fresh=lambda: build.lookup(resolution, self._cache),
            )
        )
        return Kernel(label, spec, Entry(resolution.key, resolution.identity, self._cache), decl.kargs, task)

    def _origins(self, spec: Spec, name: str = "") -> tuple[Origin, ...]:
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

    def _built(self, decl: KernelDecl, label: str, spec: Spec, folder: Path) -> Kernel:
        (origin,) = self._origins(spec, decl.name)
        recipe = self._recipe(decl, origin, folder)
        if not recipe.stored:
            label += "_dirty"
        cache = self._cache if recipe.stored else self._unstored()
        needs = () if origin.tree is not None else (self._source(label, origin, recipe),)
        task = self._steps.add(
            Step(
                "kernel",
                label,
                metadata_path(recipe.key, cache),
                lambda: self._build(label, recipe, cache),
                needs,
                lambda: self._lookup(recipe, cache),
            )
        )
        return Kernel(label, spec, Entry(recipe.key, recipe.identity, cache), decl.kargs, task, commit_of(origin))

    def _unstored(self) -> Cache:
        """Where kernels of trees with uncommitted changes live: with the results, not in the cache."""
        return Cache(self._request.project.unstored, self._request.cancel)

    def _lookup(self, recipe: Recipe, cache: Cache) -> object:
        """What was built already, unless it is to be built again."""
        return None if self._request.rebuild.force else lookup_built(recipe, cache)

    def _recipe(self, decl: KernelDecl, origin: Origin, folder: Path) -> Recipe:
        """How it is built: by the variables, else by its declaration, else by default."""
        given = self._request.options.building
        near = self._request.project.stand if given.kconfig else folder
        kconfig = choose_kconfig(origin, given.kconfig or decl.kconfig, near)
        toolchain = find_toolchain(self._request.environ, given.CC or decl.cc, given.LLVM or decl.llvm)
        return Recipe(origin, kconfig, toolchain)

    def _source(self, label: str, origin: Origin, recipe: Recipe) -> str:
        """The step that fetches the sources; it has nothing to do while the kernel is in the cache."""
        progress = self._request.progress
        return self._steps.add(
            Step(
                "source",
                label,
                source_marker(origin, self._cache),
                lambda: fetch(origin, self._cache, self._apt, self._site, on_progress=progress.fetching(label)),
                fresh=lambda: self._lookup(recipe, self._cache) or fetched(origin, self._cache),
            )
        )

    def _build(self, label: str, recipe: Recipe, cache: Cache) -> None:
        """Build on CPUs that no undisturbed run has for itself, while no cell of this run needs them.

        Tokens first, then CPUs, as ``ktstr.host.reserve`` has it.
        """
        request, rebuild = self._request, self._request.rebuild
        cap, folder = request.options.building.cpu_cap, lock_dir(request.environ)
        with request.tokens.hold(cap or len(allowed_cpus()), BUILD_MIB, request.cancel) as held:
            if not held:
                return
            step = request.progress.step
            with waiting(lambda: share(cap, folder), CPUS_WAIT_S, request.cancel, step) as reserved:
                on_progress = request.progress.building(label)
                options = BuildOptions(reserved.cpus, on_progress, rebuild.force, rebuild.clean)
                build_kernel(recipe, cache, self._cache, options)


def commit_of(origin: Origin) -> str | None:
    """What the sidecar calls the sources' commit: 12 hex digits, ``-dirty`` behind them when files differ."""
    if isinstance(origin.pin, GitPin):
        return origin.pin.commit[:12]
    tree = origin.tree
    if tree is None or tree.commit is None:
        return None
    return tree.commit[:12] + ("-dirty" if tree.dirty else "")
