"""Kernel configurations: a base, fragments over it, and whether a final ``.config`` has what they ask for.

kconfig drops an option whose dependencies are not met without a word; here that is an error that
says which option, why it was wanted, and what it depends on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from ktstr import resources
from ktstr.config.suggest import nearest
from ktstr.errors import HostError, InputError
from ktstr.files import unreadable

Base: TypeAlias = Literal["minimal", "full", "tree"]
BASES: tuple[Base, ...] = get_args(Base)
MAX_FRAGMENT = 1 << 20
_SET = re.compile(r"(CONFIG_\w+)=(y|m|n|-?\d+|0[xX][0-9a-fA-F]+|\"(?:[^\"\\]|\\.)*\")")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")
_OPTIONAL = "If there:"
_CONDITION = re.compile(r'\s+(?:depends on|(?:bool|tristate|int|hex|string|prompt) "(?:[^"\\]|\\.)*" if) ([^#]*)')
# Options of which a kernel has one (the choices of kernel/Kconfig.hz, kernel/Kconfig.preempt, kernel/time/Kconfig,
# lib/Kconfig.debug, arch/x86/Kconfig.debug, init/Kconfig): asking for one takes back what was asked before.
CHOICES = tuple(
    frozenset(f"CONFIG_{name}" for name in names.split())
    for names in (
        "HZ_100 HZ_250 HZ_300 HZ_1000",
        "PREEMPT_NONE PREEMPT_VOLUNTARY PREEMPT PREEMPT_LAZY PREEMPT_RT",
        "HZ_PERIODIC NO_HZ_IDLE NO_HZ_FULL",
        "DEBUG_INFO_NONE DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT DEBUG_INFO_DWARF4 DEBUG_INFO_DWARF5",
        "DEBUG_INFO_COMPRESSED_NONE DEBUG_INFO_COMPRESSED_ZLIB DEBUG_INFO_COMPRESSED_ZSTD",
        "UNWINDER_ORC UNWINDER_FRAME_POINTER UNWINDER_GUESS",
        "CC_OPTIMIZE_FOR_PERFORMANCE CC_OPTIMIZE_FOR_SIZE",
    )
)
# What a guest cannot boot or report without, whoever configured the kernel.
BOOTS = (
    "CONFIG_64BIT", "CONFIG_PVH", "CONFIG_ACPI", "CONFIG_PCI", "CONFIG_BLK_DEV_INITRD", "CONFIG_BINFMT_ELF",
    "CONFIG_PRINTK", "CONFIG_TTY", "CONFIG_SERIAL_8250_CONSOLE", "CONFIG_VIRTIO_PCI", "CONFIG_VIRTIO_CONSOLE",
    "CONFIG_PROC_FS", "CONFIG_SYSFS", "CONFIG_DEVTMPFS", "CONFIG_TMPFS", "CONFIG_CGROUPS", "CONFIG_CPUSETS",
    "CONFIG_CGROUP_SCHED", "CONFIG_SCHEDSTATS", "CONFIG_FUTEX", "CONFIG_POSIX_TIMERS",
)  # fmt: skip


class LostOptions(HostError):
    """The final configuration lacks what was asked for."""


@dataclass(frozen=True)
class Request:
    """One option asked for: ``value`` is its text after ``=``, None for not set. ``where`` is ``FILE:LINE``."""

    symbol: str
    value: str | None
    reason: str
    where: str
    optional: bool = False


@dataclass(frozen=True)
class Fragment:
    """A piece of configuration, by the name a user gives it."""

    name: str
    text: str
    path: Path


@dataclass(frozen=True)
class Kconfig:
    """A base and the fragments over it, in order; a later one wins."""

    base: Base
    fragments: tuple[Fragment, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """As a user would write it, without the fragment that is always there."""
        return (self.base, *(fragment.name for fragment in self.fragments if fragment.name != "ktstr"))

    @cached_property
    def requests(self) -> Mapping[str, Request]:
        """Every option asked for, by symbol. Raises InputError for a line that is none."""
        wanted: dict[str, Request] = {}
        for fragment in self.fragments:
            for request in _requests(fragment):
                for symbol in _unseated(request):
                    wanted.pop(symbol, None)
                wanted[request.symbol] = request
        return wanted

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the base and what is asked for; comments and order do not count."""
        lines = sorted(f"{request.symbol}={request.value}" for request in self.requests.values())
        return hashlib.sha256("\n".join((self.base, *lines)).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The lines to append to a ``.config``."""
        lines = (_line(request.symbol, request.value) for request in self.requests.values())
        return "\n".join(lines) + "\n"


def _unseated(request: Request) -> frozenset[str]:
    """What an earlier line asked for and this one takes back: the same option, and others of its choice."""
    chosen = next((choice for choice in CHOICES if request.symbol in choice and request.value == "y"), frozenset())
    return chosen | {request.symbol}


def _line(symbol: str, value: str | None) -> str:
    return f"# {symbol} is not set" if value is None else f"{symbol}={value}"


def _requests(fragment: Fragment) -> Iterator[Request]:
    """The options of a fragment, each with the comment above its group."""
    comment: list[str] = []
    fresh = True
    for number, raw in enumerate(fragment.text.splitlines(), 1):
        line = raw.strip()
        where = f"{fragment.path}:{number}"
        found = _SET.fullmatch(line) or _UNSET.fullmatch(line)
        if found:
            value = found[2] if len(found.groups()) == 2 and found[2] != "n" else None
            reason = " ".join(comment)
            yield Request(found[1], value, reason.removeprefix(_OPTIONAL).strip(), where, reason.startswith(_OPTIONAL))
            fresh = False
        elif not line:
            comment, fresh = [], True
        elif line.startswith("#"):
            comment = [*comment, line.lstrip("# ")] if fresh else [line.lstrip("# ")]
            fresh = True
        else:
            raise InputError(
                f"{where}: found {line[:80]!r}, expected CONFIG_NAME=value, # CONFIG_NAME is not set, or a comment"
            )


def named() -> tuple[str, ...]:
    """The fragments that come with ktstr and a user may ask for."""
    return tuple(sorted(path.stem for path in resources.kconfig_dir().glob("*.kconfig") if path.stem != "ktstr"))


def load_kconfig(words: Sequence[str], folder: Path) -> Kconfig:
    """The configuration that words such as ``minimal``, ``debug`` or ``./my.config`` stand for.

    The base comes first and is ``minimal`` unless named; files are relative to ``folder``. ``tree`` is a tree's own
    configuration and takes no fragments of ktstr's. Raises InputError for anything else.
    """
    bases = [base for base in BASES for word in words if word == base]
    if len(bases) > 1:
        raise InputError(f"kconfig={','.join(words)}: found the bases {' and '.join(bases)}, expected one")
    base = bases[0] if bases else "minimal"
    fragments = [_fragment(word, folder) for word in words if word not in BASES]
    if base != "tree":
        fragments.insert(0, _shipped("ktstr"))
    kconfig = Kconfig(base, tuple(fragments))
    assert kconfig.requests is not None  # a line that is no option is refused here
    return kconfig


def _shipped(name: str) -> Fragment:
    path = resources.kconfig_dir() / f"{name}.kconfig"
    return Fragment(name, path.read_text(encoding="utf-8"), Path("kconfig") / path.name)


def _fragment(word: str, folder: Path) -> Fragment:
    if word in named():
        return _shipped(word)
    path = folder / Path(word).expanduser()
    if "/" not in word and not path.is_file():
        hint = nearest(word, (*BASES, *named()))
        raise InputError(
            f"kconfig={word}: found no fragment or file of that name" + (f", nearest match {hint!r}" if hint else ""),
            fix=f"expected {', '.join((*BASES, *named()))} or the path of a file",
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FRAGMENT + 1)
        text = raw.decode("utf-8")
    except OSError as err:
        raise unreadable(err, f"kconfig={word}: {path}") from None
    except UnicodeDecodeError:
        raise InputError(f"kconfig={word}: {path}: not text, expected a configuration fragment") from None
    if len(raw) > MAX_FRAGMENT:
        raise InputError(f"kconfig={word}: {path}: more than {MAX_FRAGMENT} bytes, expected a fragment")
    return Fragment(word, text, path)


def options(config_text: str) -> dict[str, str]:
    """The options that a ``.config`` sets, with their values."""
    found = (_SET.fullmatch(line.strip()) for line in config_text.splitlines())
    return {match[1]: match[2] for match in found if match}


def verify(config_text: str, kconfig: Kconfig, tree: Path, pahole: str | None) -> None:
    """Check that the final configuration has all that was asked for.

    ``tree`` is where its Kconfig files are, ``pahole`` the version found, if any. Raises LostOptions naming each
    lost option, why it was wanted and what it depends on.
    """
    final = options(config_text)
    lost = [request for request in kconfig.requests.values() if not _given(request, final)]
    lost = [request for request in lost if not request.optional or _blame(request, final, tree, pahole, known=True)]
    if not lost:
        return
    lines = [
        f"\n  {_line(request.symbol, request.value)} ({request.where})"
        + (f": {request.reason}" if request.reason else "")
        + (f"\n    {why}" if (why := _blame(request, final, tree, pahole)) else "")
        for request in lost
    ]
    fix = "apt-get install dwarves" if pahole is None else "change the fragment, or enable what it depends on"
    raise LostOptions(f"the kernel's configuration lost {len(lost)} of the options asked for:{''.join(lines)}", fix=fix)


def _given(request: Request, final: Mapping[str, str]) -> bool:
    return final.get(request.symbol) == request.value or (request.value is None and request.symbol not in final)


def _blame(request: Request, final: Mapping[str, str], tree: Path, pahole: str | None, *, known: bool = False) -> str:
    """What kept an option out: a missing tool, its dependencies, or that this kernel does not have it.

    With ``known``, empty when this kernel has no such option: then one that is only wanted is not lost.
    """
    if request.value is None:
        by = selectors(tree, request.symbol, final)
        return f"selected by {', '.join(by)}" if by else f"this kernel sets it to {_value(request, final)}"
    if request.symbol in ("CONFIG_DEBUG_INFO_BTF", "CONFIG_SCHED_CLASS_EXT") and pahole is None:
        return "no pahole, no CONFIG_DEBUG_INFO_BTF; without BTF no CONFIG_SCHED_CLASS_EXT" if not known else "pahole"
    conditions = depends(tree, request.symbol)
    if conditions is None:
        return "" if known else "this kernel has no such option"
    why = f"depends on {' && '.join(conditions)}" if conditions else f"this kernel made it {_value(request, final)}"
    return why + _unmet(" ".join(conditions), final)


def _value(request: Request, final: Mapping[str, str]) -> str:
    return final.get(request.symbol, "not set")


def _unmet(condition: str, final: Mapping[str, str]) -> str:
    """Which symbols of a condition stand against it: those not set, and those set that it has with a ``!``."""
    named = dict.fromkeys(re.findall(r"(!?)\s*\b([A-Z0-9][A-Z0-9_]*)\b", condition))
    off = [symbol for no, symbol in named if not no and f"CONFIG_{symbol}" not in final]
    on = [symbol for no, symbol in named if no and f"CONFIG_{symbol}" in final]
    return (f"; not set: {', '.join(off)}" if off else "") + (f"; set: {', '.join(on)}" if on else "")


def _kconfig_files(tree: Path) -> Iterator[Path]:
    """The Kconfig files that matter on x86."""
    for top in ("init", "kernel", "lib", "mm", "net", "fs", "drivers", "block", "arch/x86", "arch/Kconfig", "security"):
        path = tree / top
        yield from (path,) if path.is_file() else sorted(path.rglob("Kconfig*"))


def depends(tree: Path, symbol: str) -> list[str] | None:
    """The conditions of an option, with those of its prompt and of all that encloses it.

    A Kconfig file's own name asks for the conditions it is read under. None when this tree has no such option.
    """
    name, found = symbol.removeprefix("CONFIG_"), None
    for path in _kconfig_files(tree):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for conditions in _definitions(text.replace("\\\n", " "), name) if name in text else ():
            outer = depends(tree, str(path.relative_to(tree))) or ()
            found = [*(found or ()), *outer, *conditions]
    return found if found is None else list(dict.fromkeys(found))


def _definitions(text: str, name: str) -> Iterator[list[str]]:
    """The conditions of each definition of ``name`` in a Kconfig file (Documentation/kbuild/kconfig-language.rst)."""
    around: list[list[str]] = []
    found: list[list[str]] = []
    current: list[str] = []  # the conditions of the entry that this line belongs to
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if not words:
            continue
        if re.fullmatch(r"\s*(menu)?config \w+\s*", line):
            current = []
            if words[1].strip() == name:
                current = [condition for conditions in around for condition in conditions]
                found.append(current)
        elif words[0] == "source" and words[1].strip() == f'"{name}"':
            found.append([condition for conditions in around for condition in conditions])
        elif words[0] in ("if", "menu", "choice") and not line[0].isspace():
            current = [words[1].strip()] if words[0] == "if" else []
            around.append(current)
        elif words[0] in ("endif", "endmenu", "endchoice") and around:
            around.pop()
        elif words[0] == "help":
            current = []
        elif condition := _CONDITION.match(line):
            current.append(condition[1].strip())
    yield from found


def selectors(tree: Path, symbol: str, final: Mapping[str, str]) -> list[str]:
    """The options that are set and select this one."""
    name, found, current = symbol.removeprefix("CONFIG_"), [], ""
    for path in _kconfig_files(tree):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
            if match := re.match(r"\s*(?:menu)?config (\w+)", line):
                current = match[1]
            elif re.match(rf"\s+select {re.escape(name)}\b", line) and f"CONFIG_{current}" in final:
                found.append(f"CONFIG_{current}")
    return found


def check_bootable(config_text: str, tree: Path) -> None:
    """Refuse a tree's own configuration that no guest of ktstr could boot or report with. Raises LostOptions."""
    final = options(config_text)
    missing = [symbol for symbol in BOOTS if final.get(symbol) != "y"]
    if missing:
        fragment = resources.kconfig_dir() / "ktstr.kconfig"
        raise LostOptions(
            f"{tree / '.config'}: lacks what a guest boots and reports with: {', '.join(missing)}",
            fix=f"cd {tree} && scripts/kconfig/merge_config.sh .config {fragment}; or make mrproper, for ktstr's own",
        )
