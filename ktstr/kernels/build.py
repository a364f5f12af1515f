"""Making a kernel's cache entry by building it from sources."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.host.cache import Cache
from ktstr.kernels.cache import KIND, Corrupt, Made, lookup_entry, read_entry, write_entry
from ktstr.kernels.compile import Built, CompileOptions, compile_kernel, write_compile_commands
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.fetch import KIND as SOURCES
from ktstr.kernels.fetch import fetched, source_key
from ktstr.kernels.image import load_image
from ktstr.kernels.origin import Origin
from ktstr.kernels.patched import BUILDS, bench, is_made, patched_tree, unpatched
from ktstr.kernels.recipe import Recipe
from ktstr.kernels.spec import GitSpec
from ktstr.kernels.strip import strip_vmlinux
from ktstr.kernels.tree import inspect_tree
from ktstr.pins.lock import GitPin, Pin, TarballPin
from ktstr.progress import Steps

BUILD_WAIT_S = 7200.0  # for another process that builds the same kernel


@dataclass(frozen=True)
class BuildOptions:
    """How to build. ``cpus``: where make may run; ``force``: also when it is in the cache; ``clean``: from nothing."""

    cpus: tuple[int, ...]
    on_progress: Callable[[Steps], None] | None = None
    force: bool = False
    clean: bool = False


def lookup_built(recipe: Recipe, cache: Cache) -> KernelEntry | None:
    """The recipe's entry when it is in the cache and whole."""
    return lookup_entry(cache, recipe.key, recipe.identity)


def build_kernel(recipe: Recipe, cache: Cache, shared: Cache, options: BuildOptions) -> KernelEntry:
    """The recipe's entry in ``cache``, built when it is not there; its fetched sources and objects are in ``shared``.

    Of two processes that ask at once one builds. Raises HostError when the build fails, the configuration loses an
    option, the tree changes meanwhile or the disk is full; the cache is then as before, and what was compiled stays for
    the next attempt.
    """
    workshop = _workshop(recipe, shared)
    with ExitStack() as held:
        held.enter_context(shared.writing(BUILDS, workshop.folder.name, timeout_s=BUILD_WAIT_S))
        if options.force:
            _hold_unused(recipe, cache, held)
        elif (found := lookup_built(recipe, cache)) is not None:
            return found
        _build(recipe, cache, shared, workshop, options, already_held=options.force)
    found = lookup_built(recipe, cache)
    if found is None:
        raise HostError(f"{cache.entry(KIND, recipe.key)}: damaged right after it was made", fix="check the disk")
    return found


def _hold_unused(recipe: Recipe, cache: Cache, held: ExitStack) -> None:
    """Take the entry's lock at once: replacing a kernel under a running machine is refused."""
    try:
        held.enter_context(cache.writing(KIND, recipe.key, timeout_s=0))
    except HostError as err:
        raise HostError(
            f"{recipe.key}: locked by active test runs: {err.message}", fix="wait for them to end"
        ) from None


@dataclass(frozen=True)
class _Workshop:
    """Where a kernel is compiled. ``folder`` is the one that is locked; ``objects`` in or at it.

    ``patched``: the folder has a tree of its own, that takes patches, and its objects are kept for the next ones.
    """

    folder: Path
    objects: Path
    patched: bool = False


def _workshop(recipe: Recipe, shared: Cache) -> _Workshop:
    """The workshop of sources that are, or were, built with patches serves them without any too: little is to do."""
    if recipe.origin.tree is None:
        folder = bench(recipe.origin, shared)
        if recipe.origin.patches or is_made(folder):
            name = f"kc{recipe.kconfig.digest[:8]}-tc{recipe.toolchain.digest[:8]}"
            return _Workshop(folder, folder / name, patched=True)
    folder = object_folder(recipe, shared)
    return _Workshop(folder, folder)


def object_folder(recipe: Recipe, cache: Cache) -> Path:
    """Where make leaves its objects: one folder a recipe; for a tree one a configuration, so that make does only
    what changed."""
    tree = recipe.origin.tree
    if tree is None:
        return cache.entry(BUILDS, recipe.key)
    return cache.entry(BUILDS, f"tree-{zlib.crc32(str(tree.path).encode()):08x}-kc{recipe.kconfig.digest[:8]}")


def log_path(recipe: Recipe, cache: Cache) -> Path:
    """The output of the recipe's last build."""
    return cache.root / "logs" / f"{recipe.key}.log"


def _build(
    recipe: Recipe, cache: Cache, shared: Cache, workshop: _Workshop, options: BuildOptions, *, already_held: bool
) -> None:
    with ExitStack() as held:
        if recipe.origin.tree is None:  # kernel_clean leaves the sources alone meanwhile
            held.enter_context(shared.reading(SOURCES, source_key(unpatched(recipe.origin))))
        built = _compile(recipe, shared, workshop, options)
        shared.cancel.check()
        if not already_held:
            held.enter_context(cache.writing(KIND, recipe.key))
        folder = held.enter_context(cache.storing(KIND, recipe.key))
        _store(recipe, built, folder, shared.cancel)
    if recipe.origin.tree is None and not workshop.patched:
        shutil.rmtree(workshop.folder, ignore_errors=True)


def _compile(recipe: Recipe, shared: Cache, workshop: _Workshop, options: BuildOptions) -> Built:
    source = fetched(unpatched(recipe.origin), shared)
    if source is None:
        raise HostError(f"{recipe.origin.spec}: its sources are gone from the cache", fix="run the command again")
    if workshop.patched:
        source = patched_tree(recipe.origin, source, workshop.folder)
    out = source if recipe.kconfig.base == "tree" else workshop.objects
    log = log_path(recipe, shared)
    log.unlink(missing_ok=True)
    built = compile_kernel(
        source, out, recipe.kconfig, recipe.toolchain, _compile_options(recipe, shared, log, options)
    )
    if recipe.origin.tree is not None:
        _check_unchanged(recipe.origin)
        write_compile_commands(source, out, recipe.toolchain, log, shared.cancel)
    return built


def _compile_options(recipe: Recipe, shared: Cache, log: Path, options: BuildOptions) -> CompileOptions:
    return CompileOptions(
        jobs=max(1, len(options.cpus)),
        log=log,
        cpus=options.cpus,
        on_progress=options.on_progress,
        expected=_expected_steps(recipe, shared),
        clean=options.clean,
        cancel=shared.cancel,
    )


def _expected_steps(recipe: Recipe, cache: Cache) -> int | None:
    """How many files the newest kernel made that was configured from the same base; None before there was one."""
    newest: tuple[str, int] | None = None
    folder = cache.root / KIND
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            facts = read_entry(path).facts
        except Corrupt:
            continue
        if facts["kconfig"] is not None and facts["kconfig"]["base"] == recipe.kconfig.base and facts["steps"]:
            newest = max(newest or ("", 0), (facts["built_at"], facts["steps"]))
    return None if newest is None else newest[1]


def _check_unchanged(origin: Origin) -> None:
    """Refuse what was compiled from a tree that somebody edited meanwhile: it would be neither state."""
    before = origin.tree
    assert before is not None
    after = inspect_tree(before.path)
    if after.identity != before.identity:
        was, now = (f"{(t.commit or 'no commit')[:12]}{'-dirty' if t.dirty else ''}" for t in (before, after))
        raise HostError(
            f"kernel {before.path}: changed during build (was {was}, now {now}), so what was built is neither state",
            fix="run the command again, and leave the tree alone meanwhile",
        )


def _store(recipe: Recipe, built: Built, folder: Path, cancel: Cancel) -> None:
    stripped = folder / "stripped"
    strip_vmlinux(built.vmlinux, stripped, cancel)
    image = load_image(stripped)
    stripped.unlink()
    kconfig = {
        "base": recipe.kconfig.base,
        "fragments": list(recipe.kconfig.words[1:]),
        "digest": recipe.kconfig.digest,
    }
    made = Made(
        kernel_version=recipe.origin.version,
        kconfig=kconfig,
        toolchain={**recipe.toolchain.versions, "digest": recipe.toolchain.digest},
        steps=built.steps,
    )
    write_entry(folder, recipe.key, recipe.identity, _source_facts(recipe.origin), image, built.config, made)


def _source_facts(origin: Origin) -> dict[str, object]:
    """The ``source`` of ``metadata.json``."""
    facts = _fetched_facts(origin)
    if origin.patches:
        facts["patches"] = [{"name": patch.path.name, "sha256": patch.digest} for patch in origin.patches]
    return facts


def _fetched_facts(origin: Origin) -> dict[str, object]:
    pin, spec = origin.pin, origin.spec
    if isinstance(pin, TarballPin):
        return {"type": "tarball", "version": pin.version, "url": pin.url, "sha256": pin.sha256}
    if isinstance(pin, GitPin):
        assert isinstance(spec, GitSpec)
        return {"type": "git", "url": spec.url, "ref": spec.ref, "commit": pin.commit}
    if isinstance(pin, Pin):
        packages = {package.name: package.sha256 for package in pin.packages}
        return {"type": "debsrc", "package_version": pin.version, "packages": packages}
    assert origin.tree is not None
    return {"type": "local", "path": str(origin.tree.path), "commit": origin.tree.commit, "dirty": origin.tree.dirty}
