"""The kernels of one plan: what each name means, where its entry is, and the steps that make it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ktstr.config.model import Config, KernelDecl
from ktstr.errors import InputError
from ktstr.kernels import labels
from ktstr.kernels.cache import lookup_entry, metadata_path
from ktstr.kernels.discover import Found, discover
from ktstr.kernels.prebuilt import ensure, lookup
from ktstr.kernels.resolve import resolve, resolve_cached
from ktstr.kernels.spec import DebSpec, ImageSpec, KeySpec, RangeSpec, parse_spec
from ktstr.planning.kernel import Archive, Entry, Kernel
from ktstr.planning.pins import Pins
from ktstr.planning.request import Request
from ktstr.planning.steps import Step, Steps

if TYPE_CHECKING:
    from ktstr.planning.sources import SourceKernels


class Kernels:
    """Resolves names to kernels, each once."""

    def __init__(self, request: Request, config: Config, archive: Archive, pins: Pins, steps: Steps) -> None:
        self._request, self._config, self._pins, self._steps = request, config, pins, steps
        self._archive, self._cache, self._apt = archive, archive.cache, archive.apt
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
        return tuple(str(origin.spec) for origin in self._sources.origins(spec))

    @cached_property
    def _sources(self) -> SourceKernels:
        from ktstr.planning.sources import SourceKernels  # git, downloads and make: not for a run on a prebuilt kernel

        return SourceKernels(self._request, self._archive, self._pins, self._steps)

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
        if decl.patches and isinstance(spec, KeySpec | DebSpec | ImageSpec):
            raise InputError(
                f"{decl.where}: kernel {name}: found patch beside {spec}, which comes built, expected sources",
                fix="debsrc:VERSION, a release, or git+URL#REF",
            )
        if isinstance(spec, KeySpec):
            return self._cached(decl, label, spec)
        if isinstance(spec, DebSpec | ImageSpec):
            return self._prebuilt(decl, label, spec)
        return self._sources.plan(decl, label, spec, folder)

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
                fresh=lambda: lookup(resolution, self._cache),
            )
        )
        place, pin = Entry(resolution.key, resolution.identity, self._cache), resolution.pin
        if pin is None or isinstance(spec, ImageSpec):
            return Kernel(label, spec, place, decl.kargs, task)
        return Kernel(label, spec, place, decl.kargs, task, sources=lambda: self._sources.of_package(label, spec, pin))
