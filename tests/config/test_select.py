from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.load import load, parse
from ktstr.config.model import Backdrop, CellKey, Config, Step, TestDecl
from ktstr.config.ops import Spawn
from ktstr.config.patterns import match
from ktstr.config.scenario import Cgroup, Work
from ktstr.config.select import Expansion, Selection, Skip, expand, parse_seeds, unfit
from ktstr.config.topology import PRESETS, Topology
from ktstr.errors import InputError

TEXT = """
kernels: {default: deb:forky/cloud-amd64, old: 6.12}
schedulers:
  scx_a: {path: a}
  scx_b: {path: b}
tests:
  cgroup_steady: {cgroups: [{name: a}]}
  cgroup_llc: {cgroups: [{name: a}], constraints: {min_llcs: 2}}
  pipe: {cgroups: [{name: a}]}
  lonely: {cgroups: [{name: a}]}
  numa: {cgroups: [{name: a}], constraints: {min_numa_nodes: 2}}
  demo_bad: {cgroups: [{name: a}], demo: true}
  duel: {cgroups: [{name: a}], compare: [scx_b, eevdf]}
"""
MATRIX = """
matrices:
  m:
    tests: ['cgroup_*', pipe]
    presets: [tiny-1llc, tiny-2llc]
    schedulers: [eevdf, scx_a]
"""


def config(matrices: str = MATRIX) -> Config:
    return parse((TEXT + matrices).encode(), Path("/p/ktstr.yaml"), validated=True)


def cells(selection: Selection, matrices: str = MATRIX) -> list[tuple[str, str, str, str, int]]:
    keys = expand(config(matrices), selection).cells
    return [(k.test, k.preset, k.kernel, k.scheduler, k.seed) for k in keys]


def refusal(selection: Selection, matrices: str = MATRIX) -> str:
    with pytest.raises(InputError) as err:
        expand(config(matrices), selection)
    return str(err.value)


def test_match_prefers_the_name_itself_then_globs_then_parts() -> None:
    names = ("cgroup", "cgroup_llc", "pipe")
    assert match("cgroup", names) == ("cgroup",)
    assert match("cgroup*", names) == ("cgroup", "cgroup_llc")
    assert match("group", names) == ("cgroup", "cgroup_llc")
    assert match("[pq]ipe", names) == ("pipe",)
    assert match("", names) == ()
    assert match("Pipe", names) == ()


def test_a_matrix_is_the_product_in_order_without_what_constraints_rule_out() -> None:
    expansion = expand(config())
    assert [(k.test, k.preset, k.scheduler) for k in expansion.cells] == [
        ("cgroup_steady", "tiny-1llc", "eevdf"),
        ("cgroup_steady", "tiny-1llc", "scx_a"),
        ("cgroup_steady", "tiny-2llc", "eevdf"),
        ("cgroup_steady", "tiny-2llc", "scx_a"),
        ("cgroup_llc", "tiny-2llc", "eevdf"),
        ("cgroup_llc", "tiny-2llc", "scx_a"),
        ("pipe", "tiny-1llc", "eevdf"),
        ("pipe", "tiny-1llc", "scx_a"),
        ("pipe", "tiny-2llc", "eevdf"),
        ("pipe", "tiny-2llc", "scx_a"),
    ]
    assert {(k.kernel, k.seed) for k in expansion.cells} == {("default", 0)}
    reason = "needs at least 2 LLCs, 1n1l4c1t has 1"
    assert expansion.skips == tuple(
        Skip(CellKey("cgroup_llc", "tiny-1llc", "default", s, 0), reason) for s in ("eevdf", "scx_a")
    )


def test_points_are_dropped_and_added() -> None:
    matrices = """
matrices:
  m:
    tests: [pipe, cgroup_steady]
    presets: [tiny-1llc, smt-2llc]
    schedulers: [eevdf, scx_a]
    exclude:
      - {test: pipe, preset: 'smt-*'}
      - {scheduler: eevdf}
    include:
      - {test: pipe, preset: smt-2llc, scheduler: scx_b, seed: 4}
"""
    assert cells(Selection(), matrices) == [
        ("pipe", "tiny-1llc", "default", "scx_a", 0),
        ("cgroup_steady", "tiny-1llc", "default", "scx_a", 0),
        ("cgroup_steady", "smt-2llc", "default", "scx_a", 0),
        ("pipe", "smt-2llc", "default", "scx_b", 4),
    ]


def test_overlapping_matrices_give_each_cell_once() -> None:
    twice = """
matrices:
  a: {tests: pipe, presets: tiny-1llc, seeds: 0..2}
  b: {tests: [pipe, pipe], presets: '*-1llc'}
"""
    assert cells(Selection(), twice) == [("pipe", "tiny-1llc", "default", "eevdf", seed) for seed in (0, 1, 2)]


def test_a_selection_narrows() -> None:
    assert cells(Selection(test=("pipe",), preset=("2llc",), scheduler=("scx_*",))) == [
        ("pipe", "tiny-2llc", "default", "scx_a", 0)
    ]


def test_patterns_for_one_field_add_up() -> None:
    found = cells(Selection(test=("pipe", "cgroup_steady"), preset=("tiny-1llc",), scheduler=("eevdf",)))
    assert [row[0] for row in found] == ["pipe", "cgroup_steady"]


@pytest.mark.parametrize("spec", ["6.14", "/boot/vmlinuz", "deb:sid/cloud-amd64", "6.12..6.14", "./bzImage"])
def test_a_kernel_replaces_those_of_every_point_and_need_not_be_declared(spec: str) -> None:
    found = cells(Selection(kernel=(spec,)))
    assert len(found) == 10
    assert {row[2] for row in found} == {spec}


def test_a_declared_kernel_outside_the_matrix_runs_everything() -> None:
    assert {row[2] for row in cells(Selection(kernel=("old", "def")))} == {"old", "default"}


def test_a_kernel_that_can_only_be_a_name_must_be_one() -> None:
    assert refusal(Selection(kernel=("defualt",))) == (
        "kernel=defualt: found no kernel of that name, expected a declared name, a glob or a part of one,"
        " nearest match 'default'\n  fix: declared: default, old"
    )


def test_a_preset_or_scheduler_that_no_matrix_has_is_added_to_all() -> None:
    found = cells(Selection(test=("pipe",), preset=("smt-3llc",), scheduler=("scx_b",)))
    assert found == [("pipe", "smt-3llc", "default", "scx_b", 0)]


def test_a_glob_stays_within_the_matrices_when_it_meets_them() -> None:
    assert {row[1] for row in cells(Selection(preset=("tiny-*",)))} == {"tiny-1llc", "tiny-2llc"}
    assert {row[1] for row in cells(Selection(preset=("smt-*",)))} == {"smt-2llc", "smt-3llc"}


def test_the_gauntlet_is_every_preset_that_the_constraints_allow() -> None:
    found = expand(config(), Selection(test=("cgroup_*",), scheduler=("eevdf",), gauntlet=True))
    one_llc = {"tiny-1llc"}
    assert {key.preset for key in found.cells if key.test == "cgroup_steady"} == set(PRESETS)
    assert {key.preset for key in found.cells if key.test == "cgroup_llc"} == set(PRESETS) - one_llc
    assert {skip.key.preset for skip in found.skips} == one_llc


def test_a_gauntlet_is_narrowed_by_presets_and_needs_no_matrix() -> None:
    chosen = Selection(test=("lonely",), preset=("smt-*",), gauntlet=True)
    assert cells(chosen) == [("lonely", name, "default", "eevdf", 0) for name in ("smt-2llc", "smt-3llc")]
    assert "found no preset of that name" in refusal(Selection(preset=("smt9",), gauntlet=True))


def test_a_test_that_no_matrix_has_gets_cells_of_its_own() -> None:
    assert cells(Selection(test=("lonely",))) == [("lonely", "tiny-1llc", "default", "eevdf", 0)]
    given = Selection(test=("lonely",), preset=("smt-2llc",), kernel=("6.14",), scheduler=("scx_a",), seeds=(3, 4))
    assert cells(given) == [("lonely", "smt-2llc", "6.14", "scx_a", seed) for seed in (3, 4)]


def test_its_preset_is_the_smallest_that_fits() -> None:
    assert cells(Selection(test=("numa",))) == [("numa", "numa2-4llc", "default", "eevdf", 0)]


def test_a_combination_that_no_matrix_has_is_run_when_its_test_is_named() -> None:
    matrices = "matrices:\n  a: {tests: pipe, presets: tiny-1llc}\n  b: {tests: cgroup_steady, presets: smt-2llc}\n"
    assert cells(Selection(test=("pipe",), preset=("smt-2llc",)), matrices) == [
        ("pipe", "smt-2llc", "default", "eevdf", 0)
    ]


def test_demo_tests_need_their_exact_name() -> None:
    everything = "matrices: {m: {tests: '*', presets: tiny-1llc}}\n"
    assert "demo_bad" not in {row[0] for row in cells(Selection(), everything)}
    assert cells(Selection(test=("demo_bad",)), everything) == [("demo_bad", "tiny-1llc", "default", "eevdf", 0)]
    named = "matrices: {m: {tests: [pipe, demo_bad], presets: smt-2llc}}\n"
    assert {row[0] for row in cells(Selection(), named)} == {"pipe"}
    assert cells(Selection(test=("demo_bad",)), named) == [("demo_bad", "smt-2llc", "default", "eevdf", 0)]
    assert refusal(Selection(test=("demo_*",))) == (
        "test=demo_*: found only demo tests (demo_bad), expected those by their exact names\n"
        "  fix: doit test test=demo_bad"
    )


def test_seeds_replace_those_of_every_point() -> None:
    assert [
        row[4] for row in cells(Selection(test=("pipe",), preset=("1llc",), scheduler=("scx_a",), seeds=(7, 8)))
    ] == [7, 8]


def test_a_pattern_that_names_nothing_is_an_error_with_the_nearest() -> None:
    assert refusal(Selection(test=("cgroup_stedy",))).startswith(
        "test=cgroup_stedy: found no test of that name, expected a declared name, a glob or a part of one,"
        " nearest match 'cgroup_steady'"
    )
    assert "preset=tinny: found no preset of that name" in refusal(Selection(preset=("tinny",)))
    assert "scheduler=zzzzzzz: found no scheduler" in refusal(Selection(scheduler=("zzzzzzz",)))
    assert "nearest" not in refusal(Selection(scheduler=("zzzzzzz",)))


def test_nothing_to_run_is_an_error() -> None:
    assert refusal(Selection(), "") == (
        "ktstr.yaml: found no matrix, expected one to run\n  fix: declare a matrix, or name a test: doit test test=NAME"
    )
    emptied = "matrices: {m: {tests: pipe, presets: tiny-1llc, exclude: [{test: pipe}]}}\n"
    assert refusal(Selection(), emptied).startswith("the matrices: selected no cell, expected at least one")


def test_all_skipped_is_no_error() -> None:
    only = "matrices: {m: {tests: numa, presets: tiny-1llc}}\n"
    assert expand(config(only)) == Expansion(
        (), (Skip(CellKey("numa", "tiny-1llc", "default", "eevdf", 0), "needs at least 2 NUMA nodes, 1n1l4c1t has 1"),)
    )


def test_the_worked_example_of_constraints_keeps_six_presets() -> None:
    """min_llcs 2, SMT, and the reference's defaults: at most 12 LLCs, 192 CPUs, 1 node."""
    test = TestDecl("t", (), min_llcs=2, requires_smt=True, max_llcs=12, max_cpus=192, max_numa_nodes=1)
    kept = [name for name, label in PRESETS.items() if unfit(test, Topology.parse(label)) is None]
    assert kept == ["smt-2llc", "smt-3llc", "medium-4llc", "medium-8llc", "large-4llc", "large-8llc"]


def test_reasons_for_not_fitting() -> None:
    small = Topology.parse("1n1l4c1t")
    assert unfit(TestDecl("t", (), min_cpus=5), small) == "needs at least 5 CPUs, 1n1l4c1t has 4"
    assert unfit(TestDecl("t", (), max_cpus=3), small) == "needs at most 3 CPUs, 1n1l4c1t has 4"
    assert unfit(TestDecl("t", (), requires_smt=True), small) == "needs SMT, 1n1l4c1t has one thread per core"
    assert unfit(TestDecl("t", (), min_cpus=4, max_cpus=4), small) is None


@pytest.mark.parametrize("place", ["cgroup", "backdrop", "op"])
def test_workers_on_both_threads_of_a_core_need_smt_wherever_they_are(place: str) -> None:
    pair = Work("SmtSiblingSpin", 2)
    test = {
        "cgroup": TestDecl("t", (Cgroup("c", works=(pair,)),)),
        "backdrop": TestDecl("t", (), backdrop=Backdrop((Cgroup("c", works=(pair,)),))),
        "op": TestDecl("t", (), steps=(Step(ops=(Spawn(None, pair),)),)),
    }[place]
    assert unfit(test, Topology.parse("1n1l4c1t")) == "needs SMT, 1n1l4c1t has one thread per core"
    assert unfit(test, Topology.parse("1n1l2c2t")) is None


def test_seeds_are_read_in_order_without_repeats() -> None:
    assert parse_seeds(["1..3", "7", 2]) == (1, 2, 3, 7)
    assert parse_seeds(["18446744073709551615"]) == (2**64 - 1,)


@pytest.mark.parametrize("text", ["", "x", "-1", "1..", "..3", "3..1", "1...3", "18446744073709551616", "0..999999"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds([text])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9))))
def test_seeds_are_those_of_all_ranges(ranges: list[tuple[int, int]]) -> None:
    assert set(parse_seeds(f"{a}..{a + n}" for a, n in ranges)) == {s for a, n in ranges for s in range(a, a + n + 1)}


def test_the_repository_s_matrices_cover_what_a_first_run_must() -> None:
    own = load(Path(__file__).parents[2] / "ktstr.yaml", validated=True)
    expansion = expand(own)
    topologies = {own.presets[k.preset] for k in expansion.cells}
    assert expansion.skips == ()
    assert 8 <= len(expansion.cells) <= 12
    assert len(topologies) >= 4
    assert any(t.numa_nodes == 2 for t in topologies)
    assert any(t.threads == 2 for t in topologies)
    assert any(t.cpus % 2 for t in topologies)
    assert max(t.cpus for t in topologies) <= 9
    assert sum(k.scheduler == "scx_ktstr" for k in expansion.cells) * 2 >= len(expansion.cells)
    assert not any(own.tests[k.test].demo or k.seed for k in expansion.cells)


DUEL = """
matrices:
  m:
    tests: [pipe, duel, lonely]
    presets: [tiny-1llc]
    schedulers: [scx_a]
"""
TEN = range(1, 11)


def test_a_comparison_runs_under_both_schedulers_whatever_the_matrix_has() -> None:
    assert cells(Selection(), DUEL) == [
        ("pipe", "tiny-1llc", "default", "scx_a", 0),
        *(("duel", "tiny-1llc", "default", scheduler, seed) for scheduler in ("scx_b", "eevdf") for seed in TEN),
        ("lonely", "tiny-1llc", "default", "scx_a", 0),
    ]


def test_the_seeds_of_a_matrix_and_of_the_user_hold_for_a_comparison_too() -> None:
    assert {c[4] for c in cells(Selection(test=("duel",)), DUEL + "    seeds: 3..5\n")} == {3, 4, 5}
    assert {c[4] for c in cells(Selection(test=("duel",), seeds=(7, 8)), DUEL)} == {7, 8}


def test_a_comparison_that_no_matrix_has_runs_under_both_too() -> None:
    found = cells(Selection(test=("duel",)))
    assert found == [("duel", "tiny-1llc", "default", s, seed) for s in ("scx_b", "eevdf") for seed in TEN]


def test_a_scheduler_that_the_user_names_narrows_a_comparison() -> None:
    assert {c[3] for c in cells(Selection(test=("duel",), scheduler=("eevdf",)), DUEL)} == {"eevdf"}


SCHEDULERS = """
kernels: {new: "deb:forky/cloud-amd64", old: "debsrc:6.12"}
schedulers:
  recent: {path: a, kernels: ["deb:*"]}
  wide: {path: b, preset: odd-5llc}
  broken: {path: c, expect: refused}
tests:
  t: {cgroups: [{name: a}]}
  small: {cgroups: [{name: a}], constraints: {max_cpus: 2}}
  stalls: {cgroups: [{name: a}], expect: stalls}
  reloads: {cgroups: [{name: a}], scheduler_ops: [{at: 1s, op: replace, scheduler: recent}]}
presets: {pair: 1n1l2c1t}
"""


def schedulers(**chosen: tuple[str, ...]) -> Expansion:
    config = parse(SCHEDULERS.encode(), Path("ktstr.yaml"), validated=True)
    return expand(config, Selection(**chosen))  # type: ignore[arg-type]


def test_a_scheduler_is_skipped_on_kernels_that_it_is_not_for_and_that_is_said() -> None:
    found = schedulers(test=("t",), kernel=("new", "old", "6.14"), scheduler=("recent",))
    assert [key.kernel for key in found.cells] == ["new"], "by its spec"
    assert [skip.reason for skip in found.skips] == [
        "recent is declared for kernels deb:*, this one is old",
        "recent is declared for kernels deb:*, this one is 6.14",
    ]


def test_a_test_is_skipped_on_kernels_that_a_replacement_is_not_for() -> None:
    found = schedulers(test=("reloads",), kernel=("new", "old"), scheduler=("broken",))
    assert [key.kernel for key in found.cells] == ["new"]
    assert [skip.reason for skip in found.skips] == ["recent is declared for kernels deb:*, this one is old"]


def test_a_scheduler_s_own_topology_is_that_of_tests_by_name_which_fit_it() -> None:
    found = schedulers(test=("t", "small"), scheduler=("wide", "recent"))
    assert [(key.test, key.scheduler, key.preset) for key in found.cells] == [
        ("t", "wide", "odd-5llc"),
        ("t", "recent", "tiny-1llc"),
        ("small", "wide", "pair"),
        ("small", "recent", "pair"),
    ]
    (cell,) = schedulers(test=("t",), scheduler=("wide",), preset=("pair",)).cells
    assert cell.preset == "pair"


def test_what_is_expected_of_a_scheduler_is_not_asked_of_the_kernel_s_own() -> None:
    found = schedulers(test=("stalls",), scheduler=("eevdf", "wide"))
    assert [key.scheduler for key in found.cells] == ["wide"]
    (skip,) = found.skips
    assert skip.reason == ("expects of a scheduler what eevdf, which is no program, cannot do (expect: stalls)")


TOPOLOGIES = """
kernels: {k: deb:forky/cloud-amd64}
presets: {mine: 1n2l1c1t}
schedulers: {scx_a: {path: a, preset: tiny-2llc}}
tests:
  here: {cgroups: [a], topology: mine}
  label: {cgroups: [a], topology: 2n2l1c1t}
  small: {cgroups: [a], topology: mine, constraints: {min_cpus: 4}}
  host: {cgroups: [a], host_only: true}
"""


def own(test: str, **more: tuple[str, ...]) -> Expansion:
    declared = parse(TOPOLOGIES.encode(), Path("/p/ktstr.yaml"))
    return expand(declared, Selection(test=(test,), **more))  # type: ignore[arg-type]


def test_a_test_named_alone_runs_on_its_own_topology_whatever_its_scheduler_s() -> None:
    assert [key.preset for key in own("here").cells] == ["mine"]
    assert [key.preset for key in own("here", scheduler=("scx_a",)).cells] == ["mine"]
    assert [key.preset for key in own("here", preset=("tiny-1llc",)).cells] == ["tiny-1llc"]


def test_a_label_is_a_preset_of_its_own_name() -> None:
    declared = parse(TOPOLOGIES.encode(), Path("/p/ktstr.yaml"))
    assert declared.presets["2n2l1c1t"] == Topology(2, 2, 1, 1)
    assert [key.preset for key in own("label").cells] == ["2n2l1c1t"]


def test_a_topology_that_the_constraints_rule_out_is_skipped_with_the_reason() -> None:
    assert own("small").skips == (
        Skip(CellKey("small", "mine", "k", "eevdf", 0), "needs at least 4 CPUs, 1n2l1c1t has 2"),
    )


def test_a_test_of_the_host_alone_is_skipped_with_the_reason() -> None:
    expansion = own("host")
    assert expansion.cells == ()
    assert expansion.skips == (
        Skip(
            CellKey("host", "tiny-1llc", "k", "eevdf", 0),
            "host needs no guest (host_only: true), and this would run it in one",
        ),
    )


def test_a_label_of_one_test_is_no_topology_of_others() -> None:
    text = TOPOLOGIES + "matrices: {m: {tests: here, presets: ['*n*', mine]}}\n"
    text = text.replace("tests:", "tests:\n  odd: {cgroups: [a], constraints: {min_llcs: 2, max_cpus: 3}}\n"
                        "  tiny: {cgroups: [a], topology: 1n2l1c1t}", 1)  # fmt: skip
    declared = parse(text.encode(), Path("/p/ktstr.yaml"))
    assert declared.labels == {"2n2l1c1t", "1n2l1c1t"}
    assert declared.labels.isdisjoint(key.preset for key in expand(declared).cells)
    assert [key.preset for key in expand(declared, Selection(test=("odd",))).cells] == ["mine"]
    assert [key.preset for key in expand(declared, Selection(test=("odd",), preset=("1n2l1c1t",))).cells] == [
        "1n2l1c1t"
    ]
