from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.config.include import read_sources
from ktstr.config.load import load
from ktstr.config.model import Binary, Config
from ktstr.errors import InputError

KERNELS = "kernels: {k: deb:forky/cloud-amd64}\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "ktstr.yaml"


def loaded(folder: Path, files: dict[str, str]) -> Config:
    return load(write(folder, files))


def errors(folder: Path, files: dict[str, str]) -> list[str]:
    with pytest.raises(InputError) as err:
        loaded(folder, files)
    return str(err.value).splitlines()


def test_declarations_of_all_files_are_together_those_of_the_main_one_first(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {
            "ktstr.yaml": f"include: [more/a.yaml, b.yaml]\n{KERNELS}"
            "tests: {t: {cgroups: [{name: x, use: hog}]}}\n",
            "more/a.yaml": "kernels: {l: 6.12}\ntests: {u: {cgroups: [x]}}\nmatrices: {m: {tests: t, presets: mine}}\n",
            "b.yaml": "define: {hog: {nice: 3}}\npresets: {mine: 1n1l1c1t}\npayloads: {p: {path: x}}\n",
        },
    )
    assert (list(config.tests), list(config.kernels), list(config.payloads)) == (["t", "u"], ["k", "l"], ["p"])
    assert config.tests["t"].cgroups[0].works[0].nice == 3
    assert config.tests["u"].where == "more/a.yaml:2:12"
    assert config.matrices[0].presets == ("mine",)


def test_paths_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {
            "ktstr.yaml": "include: sub/a.yaml\nschedulers: {used: {use: here}}\n"
            "tests: {t: {use: files, cgroups: [x]}}\n",
            "sub/a.yaml": "include: ../other.yaml\n"
            "kernels: {k: ./bzImage, m: {spec: ../vmlinux}}\n"
            "schedulers: {s: {path: build/s, files: [conf]}}\n"
            "payloads: {p: {path: ./p, files: data}}\n"
            "define: {here: {path: ./program}, files: {include_files: [f]}}\n",
            "other.yaml": "payloads: {q: {path: ./q}}\n",
        },
    )
    sub = tmp_path / "sub"
    assert [kernel.spec for kernel in config.kernels.values()] == [str(sub / "bzImage"), str(tmp_path / "vmlinux")]
    assert (config.schedulers["s"].kind, config.schedulers["s"].base) == (Binary(sub / "build/s"), sub)
    assert config.schedulers["used"].kind == Binary(sub / "program")
    assert (config.payloads["p"].path, config.payloads["p"].base) == (sub / "p", sub)
    assert config.payloads["q"].path == tmp_path / "q"
    assert config.tests["t"].base == sub


def test_a_file_is_read_once_wherever_it_is_included(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {
            "ktstr.yaml": f"include: [a.yaml, b.yaml]\n{KERNELS}",
            "a.yaml": "include: common/c.yaml\n",
            "b.yaml": "include: ./common/../common/c.yaml\n",
            "common/c.yaml": "tests: {t: {cgroups: [x]}}\n",
        },
    )
    assert list(config.tests) == ["t"]


def test_a_mistake_in_an_included_file_is_told_with_its_name(tmp_path: Path) -> None:
    told = errors(
        tmp_path,
        {
            "ktstr.yaml": "include: more/a.yaml\ntests:\n  t: {cgroups: [x], duration: 2}\n",
            "more/a.yaml": "tests:\n  u: {cgroups: [{nam: x}]}\n",
        },
    )
    assert told[0].startswith("ktstr.yaml:3:31 tests.t.duration: found 2")
    assert (
        told[1]
        == "more/a.yaml:2:17 tests.u.cgroups[0].name: found nothing, expected the cgroup's name, or its path: a/b"
    )
    assert told[2].startswith("more/a.yaml:2:18 tests.u.cgroups[0].nam: found 'nam', expected one of name, cpuset")


def test_an_error_that_needs_the_topology_has_the_file_too(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        {
            "ktstr.yaml": "include: more/a.yaml\n",
            "more/a.yaml": "tests:\n  u: {cgroups: [{name: x, cpuset: {llc: 0}}]}\n",
        },
    )
    cpuset = config.tests["u"].cgroups[0].cpuset
    assert cpuset is not None and cpuset.where == "more/a.yaml:2:35 tests.u.cgroups[0].cpuset"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"ktstr.yaml": "include: [nosuch.yaml]\n", "nosuhc.yaml": ""},
         "ktstr.yaml:1:11 include[0]: found 'nosuch.yaml' (No such file or directory), expected a file that can be"
         " read, nearest match 'nosuhc.yaml'"),
        ({"ktstr.yaml": "include: a\n", "a/b": ""},
         "ktstr.yaml:1:10 include: found 'a' (Is a directory), expected a file that can be read"),
        ({"ktstr.yaml": "include: []\n"},
         "ktstr.yaml:1:10 include: found an empty list, expected the path of a file, relative to this one, or a list of"
         " paths"),
        ({"ktstr.yaml": "include: [{}]\n"},
         "ktstr.yaml:1:11 include[0]: found a mapping, expected the path of a file, relative to this one, or a list of"
         " paths"),
        ({"ktstr.yaml": "include: /etc/passwd\n"},
         "ktstr.yaml:1:10 include: found '/etc/passwd', expected the path of a file, relative to this one, or a list of"
         " paths"),
        ({"ktstr.yaml": "include: ktstr.yaml\n"},
         "ktstr.yaml:1:10 include: found 'ktstr.yaml' (ktstr.yaml -> ktstr.yaml), expected a file that does not include"
         " itself"),
        ({"ktstr.yaml": "include: a/b.yaml\n", "a/b.yaml": "include: c.yaml\n", "a/c.yaml": "include: b.yaml\n"},
         "a/c.yaml:1:10 include: found 'b.yaml' (a/b.yaml -> a/c.yaml -> a/b.yaml), expected a file that does not"
         " include itself"),
        ({"ktstr.yaml": "include: a.yaml\ntests:\n  t: {cgroups: [x]}\n", "a.yaml": "tests: {t: {cgroups: [x]}}\n"},
         "a.yaml:1:9 tests.t: found 't', expected each name once (first at ktstr.yaml:3:3)"),
        ({"ktstr.yaml": "include: [a.yaml, b.yaml]\n", "a.yaml": "define: {d: {}}\n", "b.yaml": "define: {d: {}}\n"},
         "b.yaml:1:10 define.d: found 'd', expected each name once (first at a.yaml:1:10)"),
        ({"ktstr.yaml": "include: a.yaml\n", "a.yaml": "test: {}\n"},
         "a.yaml:1:1 test: found 'test', expected one of include, kernels, schedulers, presets, payloads, define,"
         " tests, matrices, nearest match 'tests'"),
        ({"ktstr.yaml": "include: a.yaml\n", "a.yaml": "[x]\n"},
         "a.yaml:1:1 (document): found a list, expected a mapping"),
        ({"ktstr.yaml": "include: a.yaml\n", "a.yaml": "a: [\n"},
         "a.yaml:2:1 (document): found bad YAML (did not find expected node content while parsing a flow node that"
         " starts at line 2), expected well-formed YAML"),
        ({"ktstr.yaml": "include: a.yaml\n", "a.yaml": "define: {d: {}}\n"},
         "ktstr.yaml:1:1 tests: found nothing, expected tests by name"),
    ],
)  # fmt: skip
def test_a_mistake_in_include(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert errors(tmp_path, files)[0] == expected


def test_a_scheduler_s_files_and_config_come_from_one_folder(tmp_path: Path) -> None:
    files = {
        "ktstr.yaml": "include: sub/a.yaml\nschedulers: {s: {use: d, path: x, config: c}}\n"
        "tests: {t: {cgroups: [x]}}\n",
        "sub/a.yaml": "define: {d: {files: [f]}}\n",
    }
    assert errors(tmp_path, files) == [
        "ktstr.yaml:2:35 schedulers.s.config: found 'config', expected config in a file of the same folder as that of"
        " files"
    ]


def test_what_it_is_made_of_is_known_by_the_bytes_of_every_file(tmp_path: Path) -> None:
    files = {"ktstr.yaml": "include: [a.yaml]\n", "a.yaml": "tests: {t: {cgroups: [x]}}\n"}
    path = write(tmp_path, files)
    first = read_sources(path)
    assert first.files == ("ktstr.yaml", "a.yaml")
    assert read_sources(path).digest == first.digest
    write(tmp_path, {"a.yaml": files["a.yaml"] + "# more\n"})
    assert read_sources(path).digest != first.digest


def test_what_comes_with_ktstr_is_included_by_its_name(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, {"ktstr.yaml": f"include: ktstr:catalogue/stall\n{KERNELS}tests: {{t: {{cgroups: [a]}}}}\n"}
    )
    assert list(config.tests) == ["t", "stall_detect", "stall_recovery"]
    assert config.tests["stall_detect"].where == "ktstr:catalogue/stall.yaml:4:5"


@pytest.mark.parametrize("order", ["[ktstr:catalogue/stall, own.yaml]", "[own.yaml, ktstr:catalogue/stall]"])
def test_a_test_of_the_users_own_takes_the_place_of_one_that_comes_with_ktstr(order: str, tmp_path: Path) -> None:
    files = {
        "ktstr.yaml": f"include: {order}\n{KERNELS}tests: {{stall_detect: {{cgroups: [mine]}}}}\n",
        "own.yaml": "tests: {stall_recovery: {cgroups: [mine]}}\n",
    }
    tests = loaded(tmp_path, files).tests
    assert [tests[name].cgroups[0].name for name in ("stall_detect", "stall_recovery")] == ["mine", "mine"]


def test_what_does_not_come_with_ktstr_is_told_with_the_nearest(tmp_path: Path) -> None:
    (found,) = errors(tmp_path, {"ktstr.yaml": f"include: ktstr:catalog\n{KERNELS}tests: {{t: {{cgroups: [a]}}}}\n"})
    assert found.startswith("ktstr.yaml:1:10 include: found 'ktstr:catalog', expected what comes with ktstr (ktstr:cat")
    assert found.endswith("nearest match 'ktstr:catalogue'")
