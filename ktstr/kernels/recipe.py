"""What a kernel is built from: sources, configuration and toolchain, and the cache key they give together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import InputError
from ktstr.kernels.cache import ARCH, build_key
from ktstr.kernels.kconfig import Kconfig, load_kconfig
from ktstr.kernels.origin import Origin
from ktstr.kernels.toolchain import KernelToolchain

# Kconfig writes these from the tools it finds (scripts/Kconfig.include, init/Kconfig); the toolchain's digest has them.
_OF_THE_TOOLS = re.compile(r"CONFIG_(\w+_VERSION|\w+_VERSION_TEXT|CC_CAN_LINK\w*|AS_IS_\w+|LD_IS_\w+|CC_IS_\w+)=")


def config_digest(text: str) -> str:
    """SHA-256 over what a ``.config`` says: its options in order of name, without comments and tool versions."""
    lines = (line.strip() for line in text.splitlines())
    options = sorted(
        line
        for line in lines
        if (line.startswith("CONFIG_") and not _OF_THE_TOOLS.match(line))
        or (line.startswith("# CONFIG_") and line.endswith(" is not set"))
    )
    return hashlib.sha256("\n".join(options).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """One kernel to build. Two recipes with the same ``identity`` give the same kernel."""

    origin: Origin
    kconfig: Kconfig
    toolchain: KernelToolchain

    @property
    def own_config(self) -> str | None:
        """Digest of the tree's own ``.config``, when that is what it is built with."""
        tree = self.origin.tree
        return config_digest(tree.config) if self.kconfig.base == "tree" and tree is not None and tree.config else None

    @property
    def key(self) -> str:
        """The entry's name in the cache."""
        return build_key(self.origin.stem, ARCH, self.kconfig.digest, self.toolchain.digest, self.own_config)

    @property
    def identity(self) -> str:
        """SHA-256 over all that decides the kernel."""
        parts = (self.origin.identity, self.kconfig.digest, self.toolchain.digest, self.own_config or "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def stored(self) -> bool:
        """Whether the result belongs in the cache: that of a tree with uncommitted changes does not."""
        return self.origin.tree is None or not self.origin.tree.dirty


def choose_kconfig(origin: Origin, words: Sequence[str], folder: Path) -> Kconfig:
    """The configuration ``words`` ask for; without any, a tree's own ``.config``, else ``minimal``.

    Raises InputError for unknown words, for ``tree`` where there is no ``.config``, and for a tree whose
    earlier build is in the way.
    """
    tree = origin.tree
    own = tree is not None and tree.config is not None
    kconfig = load_kconfig(tuple(words) or (("tree",) if own else ("minimal",)), folder)
    if kconfig.base == "tree":
        if not own:
            raise InputError(
                f"kernel {origin.spec}: kconfig=tree: found no .config in it", fix="kconfig=minimal, or make a .config"
            )
        if kconfig.fragments:
            raise InputError(
                f"kernel {origin.spec}: kconfig={','.join(words)}: found fragments for a tree's own .config, which is"
                " never changed",
                fix="kconfig=minimal,... or merge them: scripts/kconfig/merge_config.sh .config FRAGMENT",
            )
    elif tree is not None and tree.in_place:
        raise InputError(
            f"kernel {tree.path}: kconfig={','.join(words) or kconfig.base}: found an earlier build inside the"
            " tree, where the kernel's Makefile builds nothing beside it",
            fix=f"make -C {tree.path} mrproper" + ("; or kconfig=tree, to use its own .config" if own else ""),
        )
    return kconfig
