"""Configurations: words to fragments, digests that only meaning changes, and options that got lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr import resources
from ktstr.errors import InputError
from ktstr.kernels.kconfig import (
    BOOTS,
    CHOICES,
    Fragment,
    Kconfig,
    LostOptions,
    check_bootable,
    depends,
    load_kconfig,
    named,
    options,
    verify,
)

HERE = Path("/nowhere")


def kconfig(text: str) -> Kconfig:
    return Kconfig("minimal", (Fragment("f", text, Path("f.config")),))


def test_every_option_of_the_shipped_fragments_has_a_reason() -> None:
    for word in ("minimal", *named()):
        for request in load_kconfig([word], HERE).requests.values():
            assert request.reason, f"{request.where}: {request.symbol}"


def test_the_words_of_the_documentation_are_known() -> None:
    assert named() == ("debug", "hz1000", "rt")
    assert load_kconfig([], HERE).words == ("minimal",)
    assert load_kconfig(["debug", "full"], HERE).words == ("full", "debug")
    assert load_kconfig(["tree"], HERE).requests == {}


def test_a_later_fragment_wins() -> None:
    requests = load_kconfig(["minimal", "debug"], HERE).requests
    assert load_kconfig(["minimal"], HERE).requests["CONFIG_PROVE_LOCKING"].value is None
    assert requests["CONFIG_PROVE_LOCKING"].value == "y"


@pytest.mark.parametrize(
    ("word", "chosen", "unseated"),
    [("hz1000", "CONFIG_HZ_1000", "CONFIG_HZ_250"), ("rt", "CONFIG_PREEMPT_RT", "CONFIG_PREEMPT")],
)
def test_a_later_member_of_a_choice_unseats_the_earlier(word: str, chosen: str, unseated: str) -> None:
    requests = load_kconfig([word], HERE).requests
    assert requests[chosen].value == "y" and unseated not in requests
    assert load_kconfig([], HERE).requests[unseated].value == "y"


def test_of_two_fragments_with_one_choice_the_later_decides(tmp_path: Path) -> None:
    (tmp_path / "slow.config").write_text("CONFIG_HZ_250=y\n")
    slow = load_kconfig(["hz1000", "./slow.config"], tmp_path)
    assert slow.requests["CONFIG_HZ_250"].where.endswith("slow.config:1") and "HZ_1000" not in slow.text
    assert slow.digest == load_kconfig([], tmp_path).digest
    assert load_kconfig(["./slow.config", "hz1000"], tmp_path).digest != slow.digest


def test_no_fragment_asks_for_two_of_one_choice() -> None:
    for name in ("ktstr", *named()):
        text = (resources.kconfig_dir() / f"{name}.kconfig").read_text()
        for choice in CHOICES:
            asked = [line for line in text.splitlines() if line.removesuffix("=y") in choice]
            assert len(asked) <= 1, (name, asked)


def test_quotes_inside_a_text_value_are_part_of_it() -> None:
    line = r'CONFIG_CMDLINE="a=\"b c\" d"'
    assert kconfig(line + "\n").text == line + "\n"
    assert options(line) == {"CONFIG_CMDLINE": r'"a=\"b c\" d"'}


def test_what_a_tree_must_have_the_fragment_asks_for() -> None:
    requests = load_kconfig(["minimal"], HERE).requests
    assert [symbol for symbol in BOOTS if requests[symbol].value != "y"] == []


def test_only_what_is_asked_for_changes_the_digest() -> None:
    digest = kconfig("# why\nCONFIG_A=y\nCONFIG_B=2\n").digest
    assert kconfig("CONFIG_B=2\n\n# another reason\nCONFIG_A=y\n").digest == digest
    assert kconfig("CONFIG_A=y\nCONFIG_B=3\n").digest != digest
    assert kconfig("CONFIG_A=n\n").digest == kconfig("# CONFIG_A is not set\n").digest
    assert Kconfig("full", kconfig("CONFIG_A=y\n").fragments).digest != kconfig("CONFIG_A=y\n").digest


@given(st.lists(st.sampled_from(["CONFIG_A=y", "CONFIG_B=m", 'CONFIG_C="x"', "# CONFIG_D is not set"]), unique=True))
def test_what_is_appended_asks_for_the_same(lines: list[str]) -> None:
    made = kconfig("\n".join(lines) + "\n")
    assert kconfig(made.text).requests.keys() == made.requests.keys()
    assert kconfig(made.text).digest == made.digest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["debgu"], "nearest match 'debug'"),
        (["minimal", "full"], "found the bases minimal and full"),
        (["./none.config"], "cannot be read: No such file"),
        (["./bad.config"], "bad.config:2: found 'CONFIG_A = y'"),
        (["./binary.config"], "not text"),
        (["./big.config"], "more than"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_place(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "bad.config").write_text("CONFIG_B=y\nCONFIG_A = y\n")
    (tmp_path / "binary.config").write_bytes(b"\xff\xfe")
    (tmp_path / "big.config").write_text("#" * (1 << 20) + "\n")
    with pytest.raises(InputError) as caught:
        load_kconfig(words, tmp_path)
    assert said in str(caught.value)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Kconfig files with the dependencies of the real ones, cut short."""
    (tmp_path / "kernel").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "kernel/Kconfig.preempt").write_text(
        'config SCHED_CLASS_EXT\n\tbool "Extensible Scheduling Class"\n\tdepends on BPF_SYSCALL && DEBUG_INFO_BTF\n'
        "config HARD\n\tbool\n\tselect SOFT\n"
    )
    (tmp_path / "lib/Kconfig.debug").write_text("config DEBUG_INFO_BTF\n\tbool\n\tdepends on !DEBUG_INFO_SPLIT\n")
    return tmp_path


def lost(config: str, wanted: str, tree: Path, pahole: str | None = "v1.24") -> str:
    with pytest.raises(LostOptions) as caught:
        verify(config, kconfig(wanted), tree, pahole)
    return str(caught.value)


def test_a_configuration_that_has_everything_passes(tree: Path) -> None:
    verify("CONFIG_A=y\nCONFIG_N=512\n", kconfig("CONFIG_A=y\nCONFIG_N=512\n# CONFIG_Z is not set\n"), tree, "v1.24")


def test_a_lost_option_names_reason_place_and_unmet_dependencies(tree: Path) -> None:
    said = lost("CONFIG_BPF_SYSCALL=y\n", "# the class under test\nCONFIG_SCHED_CLASS_EXT=y\n", tree)
    assert "CONFIG_SCHED_CLASS_EXT=y (f.config:2): the class under test" in said
    assert "depends on BPF_SYSCALL && DEBUG_INFO_BTF; not set: DEBUG_INFO_BTF" in said


def test_an_option_that_stands_in_the_way_is_named_as_set(tree: Path) -> None:
    said = lost("CONFIG_DEBUG_INFO_SPLIT=y\n", "CONFIG_DEBUG_INFO_BTF=y\n", tree)
    assert "depends on !DEBUG_INFO_SPLIT; set: DEBUG_INFO_SPLIT" in said
    assert "not set:" not in said.split("depends on")[1]


def test_what_encloses_an_option_is_a_condition_too(tree: Path) -> None:
    (tree / "drivers/block").mkdir(parents=True)
    (tree / "drivers/block/Kconfig").write_text(
        "menu DEVICES\n\tdepends on PCI\nmenuconfig BLK_DEV\n\tbool\n\tdepends on BLOCK\n\nif BLK_DEV\n\n"
        "config OTHER\n\tbool\n\tdepends on NOT_THIS\n\tif it rains, this is help\n\n"
        'config VIRTIO_BLK\n\ttristate "disk" if EXPERT\n'
        "\tdepends on VIRTIO && \\\n\t\t!UML\n\thelp\n\t  A disk.\n\t  depends on nothing\n\nendif\nendmenu\n"
        "config LAST\n\tbool\n"
    )
    assert depends(tree, "CONFIG_VIRTIO_BLK") == ["PCI", "BLK_DEV", "EXPERT", "VIRTIO &&  \t\t!UML"]
    assert depends(tree, "CONFIG_LAST") == []
    assert depends(tree, "CONFIG_NONE") is None
    assert "not set: BLK_DEV, VIRTIO" in lost("CONFIG_PCI=y\nCONFIG_EXPERT=y\n", "CONFIG_VIRTIO_BLK=y\n", tree)


def test_what_a_file_is_read_under_is_a_condition_of_its_options(tree: Path) -> None:
    (tree / "fs/ext4").mkdir(parents=True)
    (tree / "fs/Kconfig").write_text('if BLOCK\nsource "fs/ext4/Kconfig"\nendif\nsource "fs/other/Kconfig"\n')
    (tree / "fs/ext4/Kconfig").write_text("config EXT4_FS\n\tbool\n\tselect CRC\n")
    assert depends(tree, "CONFIG_EXT4_FS") == ["BLOCK"]


def test_without_pahole_the_chain_is_named_and_the_package(tree: Path) -> None:
    said = lost("", "CONFIG_DEBUG_INFO_BTF=y\nCONFIG_SCHED_CLASS_EXT=y\n", tree, pahole=None)
    assert "no pahole, no CONFIG_DEBUG_INFO_BTF; without BTF no CONFIG_SCHED_CLASS_EXT" in said
    assert "apt-get install dwarves" in said


def test_an_option_this_kernel_does_not_have_is_said_to_be_none(tree: Path) -> None:
    assert "this kernel has no such option" in lost("", "CONFIG_NEWER=y\n", tree)


def test_an_optional_option_may_be_missing_from_a_kernel_but_not_get_lost(tree: Path) -> None:
    verify("", kconfig("# If there: came later\nCONFIG_NEWER=y\n"), tree, "v1.24")
    assert "DEBUG_INFO_BTF" in lost("", "# If there: since 6.12\nCONFIG_SCHED_CLASS_EXT=y\n", tree)


def test_an_option_that_should_be_off_names_what_selects_it(tree: Path) -> None:
    assert "selected by CONFIG_HARD" in lost("CONFIG_HARD=y\nCONFIG_SOFT=y\n", "# CONFIG_SOFT is not set\n", tree)


def test_another_value_is_a_loss_too(tree: Path) -> None:
    assert "CONFIG_N=512" in lost("CONFIG_N=64\n", "CONFIG_N=512\n", tree)


def test_a_trees_own_configuration_must_boot() -> None:
    config = "".join(f"{symbol}=y\n" for symbol in BOOTS)
    check_bootable(config, HERE)
    with pytest.raises(LostOptions, match=r"lacks what a guest boots and reports with: CONFIG_PVH") as caught:
        check_bootable(config.replace("CONFIG_PVH=y", "# CONFIG_PVH is not set"), HERE)
    assert str(resources.kconfig_dir() / "ktstr.kconfig") in str(caught.value)
