"""What a cell's initramfs is made of: one part for a scheduler, one for the configuration of the kernel it runs on."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.config.model import Binary, Builtin, PayloadDecl, SchedulerDecl, TestDecl
from ktstr.errors import Changed, HostError, InputError
from ktstr.host.cache import Cache
from ktstr.kernels.spec import DebSpec
from ktstr.planning.images import Agent, Image, Images
from ktstr.planning.kernel import Entry, Kernel
from ktstr.planning.steps import Steps
from ktstr.progress import Progress
from tests.kernels.entries import add_entry
from tests.kernels.images import CONFIG
from tests.vm.test_cpio import unpack

TOOLS = cast(Any, SimpleNamespace(bpf=None))  # for the kinds that are built
EEVDF = SchedulerDecl("eevdf", Builtin("eevdf"))


def kernel(cache: Cache, key: str, identity: str = "a" * 64) -> Kernel:
    return Kernel(key, DebSpec("forky", "cloud-amd64"), Entry(key, identity, cache), (), f"kernel:{key}")


@pytest.fixture
def made(tmp_path: Path) -> tuple[Images, Steps, Cache]:
    """Images whose agent is there."""
    cache, steps = Cache(tmp_path / "cache"), Steps()
    options = SimpleNamespace(fetching=SimpleNamespace(offline=False))
    project = SimpleNamespace(stand=tmp_path)
    request = SimpleNamespace(environ={}, options=options, progress=Progress(io.StringIO()), project=project)
    images = Images(cast(Any, request), cast(Any, SimpleNamespace(cache=cache)), TOOLS, steps)
    images._agent = Agent(tmp_path / "agent", "1" * 64)
    return images, steps, cache


def scheduler(folder: Path, **more: Any) -> SchedulerDecl:
    shutil.copy("/bin/true", folder / "scx")
    return SchedulerDecl("mine", Binary(folder / "scx"), where="ktstr.yaml:1:1", base=folder, **more)


def config_of(image: Image, steps: Steps) -> dict[str, Any]:
    assert image.config is not None
    next(step for step in steps if step.target == image.config.path).make()
    return unpack(image.config.path.read_bytes())


def test_a_program_boots_with_the_configuration_of_its_kernel(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, steps, cache = made
    add_entry(cache, "one", "2026-01-01T00:00:00Z")
    image = images.image(scheduler(tmp_path), kernel(cache, "one"))
    release = kernel(cache, "one").version()
    assert config_of(image, steps)[f"boot/config-{release}"][3] == CONFIG.encode()
    assert image.tasks == ("image:mine", "image:config-one")
    assert image.paths[0] == image.path


def test_a_kernel_of_which_no_configuration_is_known_has_none_in_the_guest(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, steps, cache = made
    add_entry(cache, "one", "2026-01-01T00:00:00Z", config=None)
    assert set(config_of(images.image(scheduler(tmp_path), kernel(cache, "one")), steps)) == {"boot"}


def test_another_kernel_is_another_configuration_but_the_same_image(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, _, cache = made
    first = images.image(scheduler(tmp_path), kernel(cache, "one"))
    second = images.image(scheduler(tmp_path), kernel(cache, "two", "b" * 64))
    assert first.digest == second.digest
    assert first.digests != second.digests


def test_the_kernels_own_scheduler_needs_neither(made: tuple[Images, Steps, Cache]) -> None:
    images, _, cache = made
    image = images.image(EEVDF, kernel(cache, "one"))
    assert (image.config, image.tasks) == (None, ("image:agent-only",))


def test_an_entry_that_is_gone_is_named(made: tuple[Images, Steps, Cache], tmp_path: Path) -> None:
    images, steps, cache = made
    with pytest.raises(HostError, match="kernel one: its cache entry is gone"):
        config_of(images.image(scheduler(tmp_path), kernel(cache, "one")), steps)


def test_environment_and_files_are_part_of_the_images_key(made: tuple[Images, Steps, Cache], tmp_path: Path) -> None:
    images, _, cache = made
    (tmp_path / "conf").write_text("1")
    plain = scheduler(tmp_path)
    others = [
        replace(plain, name="env", env=(("A", "1"),)),
        replace(plain, name="files", files=("conf",)),
    ]
    digests = {images.image(one, kernel(cache, "one")).digest for one in (plain, *others)}
    assert len(digests) == 3


def test_one_that_may_take_its_place_is_a_part_of_its_own_beside_it(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, steps, cache = made
    (tmp_path / "conf").write_text("1")
    own, on = scheduler(tmp_path), kernel(cache, "one")
    other = replace(own, name="other", files=("conf",))
    alone, image = images.image(own, on), images.image(own, on, [other])
    (part,) = image.others
    assert (part.name, part.binary, image.binary) == ("other", "scx", "scx")
    assert (image.digest, image.digests) == (alone.digest, (alone.digest, part.digest, alone.digests[-1]))
    assert image.paths == (alone.path, part.path, alone.paths[-1])
    assert image.unpacked == alone.unpacked + part.unpacked and part.unpacked > 1
    assert set(image.tasks) == {*alone.tasks, part.task}
    next(step for step in steps if step.target == part.path).make()
    home = "sched/other/other"
    packed = unpack(part.path.read_bytes())
    assert {f"{home}/bin/scx", f"{home}/files/conf", f"{home}/lib/libc.so.6"} <= set(packed)
    lines = packed[f"{home}/environment"][3].decode().splitlines()
    assert f"LD_LIBRARY_PATH=/{home}/lib" in lines
    assert f"PATH=/{home}/bin:/bin:/usr/bin" in lines
    assert not {path for path in packed if path.startswith("sched/") and not path.startswith("sched/other")}
    assert "init" not in packed
    assert images.image(own, on, [other]) == image


def test_one_that_cannot_take_its_place_is_an_error_of_its_cells(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, _, cache = made
    gone = SchedulerDecl("gone", Binary(tmp_path / "gone"), where="ktstr.yaml:2:2", base=tmp_path)
    with pytest.raises(InputError, match="gone"):
        images.image(scheduler(tmp_path), kernel(cache, "one"), [gone])


def payload(folder: Path, name: str = "bench") -> PayloadDecl:
    shutil.copy("/bin/true", folder / name)
    return PayloadDecl(name, folder / name, base=folder, where="ktstr.yaml:3:3")


def test_payloads_and_include_files_are_parts_beside_an_image_that_stays_as_it_is(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, steps, cache = made
    (tmp_path / "conf").write_text("1")
    plain = TestDecl("plain", (), base=tmp_path)
    test = replace(plain, name="t", include_files=("conf",))
    alone = images.image(scheduler(tmp_path), kernel(cache, "one"))
    image = images.with_files(alone, test, [payload(tmp_path)])
    assert images.with_files(alone, plain, []) is alone
    assert (image.digest, image.unpacked) == (alone.digest, alone.unpacked)
    assert image.digests[: len(alone.digests)] == alone.digests and len(image.digests) == len(alone.digests) + 2
    assert image.tasks == (*alone.tasks, "image:payload-bench", "image:files-t")
    assert image.file_bytes > (tmp_path / "bench").stat().st_size
    found: set[str] = set()
    for part in image.files:
        next(step for step in steps if step.target == part.path).make()
        found |= set(unpack(part.path.read_bytes()))
    assert {"payload/bench/bin/bench", "payload/bench/files", "include-files/conf"} <= found


def test_a_payload_of_two_tests_is_one_part(made: tuple[Images, Steps, Cache], tmp_path: Path) -> None:
    images, _, cache = made
    alone = images.image(EEVDF, kernel(cache, "one"))
    first, second = (images.with_files(alone, TestDecl(name, ()), [payload(tmp_path)]) for name in ("a", "b"))
    assert first.files == second.files != ()


def test_another_content_of_a_payload_is_another_image(made: tuple[Images, Steps, Cache], tmp_path: Path) -> None:
    images, steps, cache = made
    alone = images.image(EEVDF, kernel(cache, "one"))
    declared = payload(tmp_path)
    first = images.with_files(alone, TestDecl("a", ()), [declared])
    shutil.copy("/bin/false", tmp_path / "bench")
    second = images.with_files(alone, TestDecl("b", ()), [declared])
    assert first.digests != second.digests and first.digest == second.digest
    with pytest.raises(Changed, match=r"payloads\.bench: one of its files"):
        next(step for step in steps if step.target == first.files[0].path).make()


def test_a_payload_that_is_not_there_is_the_same_error_each_time(
    made: tuple[Images, Steps, Cache], tmp_path: Path
) -> None:
    images, _, cache = made
    gone = replace(payload(tmp_path), path=tmp_path / "gone")
    alone = images.image(EEVDF, kernel(cache, "one"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"ktstr.yaml:3:3 payloads.bench.path: .*found no such file"):
            images.with_files(alone, TestDecl("a", ()), [gone])
