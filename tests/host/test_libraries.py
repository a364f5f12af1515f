"""Where libraries are sought. What is found is tested with what is packed (tests/vm/test_guest_image.py)."""

from __future__ import annotations

from pathlib import Path

from ktstr.host.libraries import library_path


def test_only_absolute_folders_of_the_library_path_count() -> None:
    assert library_path({"LD_LIBRARY_PATH": "/a:b::/c"}) == (Path("/a"), Path("/c"))
    assert library_path({}) == ()
