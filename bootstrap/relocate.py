"""Give a virtual environment the path it is about to be renamed to.

``relocate.py OLD NEW``: scripts, activation files and ``pyvenv.cfg`` of the environment at
OLD name its absolute path; afterwards they name NEW. Nothing else in it does. Both are in one
folder: how a script names its interpreter depends on the spaces in the path.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def relocate(old: Path, new: Path) -> tuple[Path, ...]:
    """Rewrite the files of the environment at ``old`` that name its path; returns them, sorted."""
    before, after = os.fsencode(old), os.fsencode(new)
    changed = []
    for path in sorted([*(old / "bin").iterdir(), old / "pyvenv.cfg"]):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if before in data:
            path.write_bytes(data.replace(before, after))
            changed.append(path)
    return tuple(changed)


if __name__ == "__main__":
    relocate(Path(sys.argv[1]), Path(sys.argv[2]))
