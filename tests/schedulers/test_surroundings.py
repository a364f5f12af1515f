"""What a scheduler finds around it in the guest: its environment and its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.model import Binary, SchedulerDecl
from ktstr.errors import Changed, InputError
from ktstr.schedulers import surroundings as module
from ktstr.schedulers.surroundings import environment, surroundings, verify

LIBBPF = "scx_utils::libbpf_logger=warn"


def declared(base: Path, *files: str, **env: str) -> SchedulerDecl:
    return SchedulerDecl(
        "mine", Binary(base / "scx"), files=files, env=tuple(env.items()), base=base, where="ktstr.yaml:3:5"
    )


def test_libbpfs_own_words_are_logged_whatever_else_is() -> None:
    assert environment({})["RUST_LOG"] == f"info,{LIBBPF}"
    assert environment({"RUST_LOG": "scx_mine=debug"})["RUST_LOG"] == f"scx_mine=debug,{LIBBPF}"
    assert environment({"RUST_LOG": ""})["RUST_LOG"] == LIBBPF
    assert environment({"RUST_LOG": "scx_utils::libbpf_logger=off"})["RUST_LOG"] == "scx_utils::libbpf_logger=off"


def test_what_is_declared_is_added_to_the_environment_and_wins() -> None:
    made = environment({"MODE": "fast", "HOME": "/run"})
    assert (made["MODE"], made["HOME"], made["NO_COLOR"], made["LD_LIBRARY_PATH"]) == (
        "fast",
        "/run",
        "1",
        "/sched/lib",
    )
    assert made["PATH"].split(":")[0] == "/sched/bin"


def test_files_keep_their_paths_and_folders_are_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "conf/more").mkdir(parents=True)
    for name in ("one.json", "conf/a", "conf/more/b"):
        (tmp_path / name).write_text(name)
    found = surroundings(declared(tmp_path, "one.json", "conf"))
    assert set(found.files) == {"one.json", "conf/a", "conf/more/b"}
    assert found.files["conf/more/b"].read_text() == "conf/more/b"
    assert found.size == len("one.json") + len("conf/a") + len("conf/more/b")


def test_digest_follows_content_name_mode_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    digests = [surroundings(declared(tmp_path, "a")).digest, surroundings(declared(tmp_path, "a", X="1")).digest]
    file.write_text("2")
    digests.append(surroundings(declared(tmp_path, "a")).digest)
    file.chmod(0o755)
    digests.append(surroundings(declared(tmp_path, "a")).digest)
    file.rename(tmp_path / "b")
    digests.append(surroundings(declared(tmp_path, "b")).digest)
    assert len(set(digests)) == 5


def test_a_file_that_is_edited_after_the_plan_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    scheduler = declared(tmp_path, "a")
    planned = surroundings(scheduler)
    verify(scheduler, planned)
    (tmp_path / "a").write_text("2")
    with pytest.raises(Changed, match=r"schedulers\.mine\.files: one of them changed"):
        verify(scheduler, planned)


def test_a_file_that_is_not_there_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"ktstr.yaml:3:5 schedulers\.mine\.files: {tmp_path}/gone: found no such"):
        surroundings(declared(tmp_path, "gone"))


@pytest.mark.parametrize("link", ["link", "folder/link"])
def test_a_link_out_of_the_project_is_refused(tmp_path: Path, link: str) -> None:
    project = tmp_path / "project"
    (project / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (project / link).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="secret, expected a file inside"):
        surroundings(declared(project, link.split("/")[0]))


def test_a_linked_folder_inside_a_folder_is_not_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/linked").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="folder/linked: is no file, nor a folder of its own"):
        surroundings(declared(tmp_path, "folder"))


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 1)
    for name in "ab":
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="found 2 files of 0 MiB, expected at most 1 of 256 MiB"):
        surroundings(declared(tmp_path, "a", "b"))


def test_the_configuration_goes_with_the_files_and_what_is_wrong_with_it_is_told_of_it(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/a.json").write_text("{}")
    one = SchedulerDecl("mine", Binary(tmp_path / "scx"), config="conf/a.json", base=tmp_path, where="ktstr.yaml:3:5")
    around = surroundings(one)
    assert around.files == {"conf/a.json": tmp_path / "conf/a.json"}
    (tmp_path / "conf/a.json").write_text("{ }")
    with pytest.raises(Changed):
        verify(one, around)
    (tmp_path / "conf/a.json").unlink()
    with pytest.raises(InputError, match=r"ktstr\.yaml:3:5 schedulers\.mine\.config: .*a\.json: found no such file"):
        surroundings(one)
