"""The kernels of one plan: what each name means, where its entry is, and the steps that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
from ktstr.tasks.session import Session

UNSTORED = ".unstored"  # below the runs root: kernels of trees with uncommitted changes
BUILD_MIB = 2048
CPUS_WAIT_S = 7200.0  # for runs that have the host to themselves


@dataclass(frozen=True)
class Kernel:
    """A kernel of the plan. ``identity`` names its content before it is made; ``task`` makes it."""

    label: str
    spec: Spec
    key: str
    identity: str
    cache: Cache
    kargs: tuple[str, ...]
    task: str
    commit: str | None = None

    @property
    def metadata(self) -> Path:
        return metadata_path(self.key, self.cache)

    @property
    def vmlinux(self) -> Path:
        return self.metadata.with_name("vmlinux")

    @property
    def btf(self) -> Path:
        return self.metadata.with_name("vmlinux.btf")

    def entry(self) -> KernelEntry | None:
        """What is in the cache; None before it is there."""
        return lookup_entry(self.cache, self.key, self.identity)

    def in_use(self) -> AbstractContextManager[None]:
        """Held while a machine boots from it: nobody replaces or removes the entry meanwhile."""
        return self.cache.reading(KIND, self.key)

    def version(self) -> str | None:
        """The release as the kernel prints it; None before it is in the cache."""
        entry = self.entry()
        return None if entry is None else entry.version


class AddStep(Protocol):
    """Adds a build step to the plan and gives its task's name."""

    def __call__(
        self,
        family: str,
        name: str,
        target: Path,
        make: Callable[[], object],
        needs: Iterable[str] = (),
        fresh: Callable[[], object] | None = None,
    ) -> str: ...


class Kernels:
    """Resolves names to kernels, each once."""

    def __init__(self, session: Session, config: Config, cache: Cache, apt: Apt, pins: Pins, step: AddStep) -> None:
        self._session, self._config, self._pins, self._step = session, config, pins, step
        self._cache, self._apt = cache, apt
        self._site = KernelOrg(
            session.environ.get("KTSTR_KERNEL_ORG"),
            Net(session.environ, session.flag("offline"), cancel=session.cancel),
        )
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
        return discover(self._cache, self._session.project.stand)

    def _versions(self, word: str) -> tuple[str, ...]:
        if word in self._config.kernels or ".." not in word:
            return (word,)
        spec = parse_spec(word, self._session.project.stand)
        if not isinstance(spec, RangeSpec):
            return (word,)
        return tuple(str(origin.spec) for origin in self._origins(spec))

    def _resolve(self, name: str) -> Kernel:
        declared = self._config.kernels.get(name)
        folder = self._session.project.stand if declared is None else self._config.path.parent
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

    def _kernel(
        self,
        decl: KernelDecl,
        label: str,
        spec: Spec,
        place: tuple[str, str, Cache],
        task: str,
        commit: str | None = None,
    ) -> Kernel:
        key, identity, cache = place
        return Kernel(label, spec, key, identity, cache, decl.kargs, task, commit)

    def _cached(self, decl: KernelDecl, label: str, spec: KeySpec) -> Kernel:
        entry = resolve_cached(spec, self._cache)
        task = self._step(
            "kernel",
            label,
            entry.metadata,
            lambda: resolve_cached(spec, self._cache),
            fresh=lambda: lookup_entry(self._cache, entry.key, entry.identity),
        )
        return self._kernel(decl, label, spec, (entry.key, entry.identity, self._cache), task)

    def _prebuilt(self, decl: KernelDecl, label: str, spec: DebSpec | ImageSpec) -> Kernel:
        update = self._pins.updating(decl.name, str(spec))
        resolution = resolve(spec, self._pins.lock, self._cache, self._apt, update=update)
        if resolution.pin is not None:
            self._pins.keep_kernels({str(spec): resolution.pin})
        task = self._step(
            "kernel",
            label,
            metadata_path(resolution.key, self._cache),
            lambda: ensure(resolution, self._cache, self._apt),
            fresh=lambda: build.lookup(resolution, self._cache),
        )
        return self._kernel(decl, label, spec, (resolution.key, resolution.identity, self._cache), task)

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
        unstored = Cache(self._session.project.runs_root / UNSTORED, self._session.cancel)
        cache = self._cache if recipe.stored else unstored
        needs = () if origin.tree is not None else (self._source(label, origin, recipe),)
        task = self._step(
            "kernel",
            label,
            metadata_path(recipe.key, cache),
            lambda: self._build(label, recipe, cache),
            needs,
            lambda: None if self._session.flag("force") else lookup_built(recipe, cache),
        )
        return self._kernel(decl, label, spec, (recipe.key, recipe.identity, cache), task, commit_of(origin))

    def _recipe(self, decl: KernelDecl, origin: Origin, folder: Path) -> Recipe:
        """How it is built: by the variables, else by its declaration, else by default."""
        given = self._session.words_of("kconfig")
        kconfig = choose_kconfig(origin, given or decl.kconfig, self._session.project.stand if given else folder)
        cc, llvm = self._session.text("CC") or decl.cc, self._session.text("LLVM") or decl.llvm
        return Recipe(origin, kconfig, find_toolchain(self._session.environ, cc, llvm))

    def _source(self, label: str, origin: Origin, recipe: Recipe) -> str:
        """The step that fetches the sources; it has nothing to do while the kernel is in the cache."""

        def fresh() -> object:
            made = None if self._session.flag("force") else lookup_built(recipe, self._cache)
            return made or fetched(origin, self._cache)

        progress = self._session.progress
        return self._step(
            "source",
            label,
            source_marker(origin, self._cache),
            lambda: fetch(origin, self._cache, self._apt, self._site, on_progress=progress.fetching(label)),
            fresh=fresh,
        )

    def _build(self, label: str, recipe: Recipe, cache: Cache) -> None:
        """Build on CPUs that no undisturbed run has for itself, while no cell of this run needs them.

        Tokens first, then CPUs, as ``ktstr.host.reserve`` has it.
        """
        session = self._session
        cap, folder = session.number("cpu_cap"), lock_dir(session.environ)
        with session.tokens.hold(cap or len(allowed_cpus()), BUILD_MIB, session.cancel) as held:
            if not held:
                return
            with waiting(lambda: share(cap, folder), CPUS_WAIT_S, session.cancel, session.progress.step) as reserved:
                on_progress = session.progress.building(label)
                force, clean = session.flag("force"), session.flag("clean")
                build_kernel(recipe, cache, self._cache, BuildOptions(reserved.cpus, on_progress, force, clean))


def commit_of(origin: Origin) -> str | None:
    """What the sidecar calls the sources' commit: 12 hex digits, ``-dirty`` behind them when files differ."""
    if isinstance(origin.pin, GitPin):
        return origin.pin.commit[:12]
    tree = origin.tree
    if tree is None or tree.commit is None:
        return None
    return tree.commit[:12] + ("-dirty" if tree.dirty else "")
