"""What a spec means that names an image, or an entry of the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.kernels.resolve import resolve, resolve_cached
from ktstr.kernels.spec import ImageSpec, KeySpec
from ktstr.pins.lock import Lock


def test_a_path_where_nothing_is_says_so_with_the_accepted_forms(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: cannot be read: found nothing there\n  fix: expected a version"):
        resolve(ImageSpec(tmp_path / "none"), Lock(), Cache(tmp_path), Apt(tmp_path))


def test_a_key_that_is_not_in_the_cache_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "kernels/6.14.2-tarball-x86_64-kc1").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"6\.14\.3-tarball-x86_64-kc1: not found in the cache, nearest key '6\.14\.2-"
    ):
        resolve_cached(KeySpec("6.14.3-tarball-x86_64-kc1"), Cache(tmp_path))
