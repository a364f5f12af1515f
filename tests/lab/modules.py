"""Kernel modules of one section, made by the assembler."""

from __future__ import annotations

import subprocess
from pathlib import Path


def module(folder: Path, name: str, needs: str) -> bytes:
    """An object file whose ``.modinfo`` says what it needs, as modpost writes it."""
    source, out = folder / f"{name}.s", folder / f"{name}.o"
    source.write_text(f'.section .modinfo,"a"\n.asciz "license=GPL"\n.asciz "depends={needs}"\n.asciz "name={name}"\n')
    subprocess.run(["as", "-o", str(out), str(source)], check=True)
    return out.read_bytes()
