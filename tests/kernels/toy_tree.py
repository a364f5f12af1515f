"""A tree that make configures and builds in a second as it does the kernel's, and whose vmlinux boots: a real one.

It is what ktstr sees of a kernel tree: kconfig's targets, ``O=``, steps on standard output, objects that
depend on sources. What comes out at the end is the vmlinux it was made with, whatever the sources say.
"""

from __future__ import annotations

from pathlib import Path

import pygit2

from tests.kernels.repositories import commit_files, make_repository

OBJECTS = 12
MAKEFILE = r"""
MAKEFLAGS += --no-print-directory
ifneq ($(O),)
# As outputmakefile in the kernel's Makefile: objects go elsewhere only from a clean tree.
%:
	@if [ -f .config -o -d include/config ]; then echo "*** The source tree is not clean" >&2; exit 1; fi
	@mkdir -p $(O)
	@$(MAKE) -C $(O) -f $(CURDIR)/Makefile O= src=$(CURDIR) $@
.PHONY: FORCE
Makefile: ;
else
src ?= .
objects := $(patsubst $(src)/kernel/%.c,kernel/%.o,$(wildcard $(src)/kernel/*.c))

vmlinux: $(objects) .config
	@mkdir -p include/config && echo "6.99.0-toy" > include/config/kernel.release
	@echo "  LD      vmlinux"
	@cp "$$(cat $(src)/vmlinux.path $(src)/vmlinux.tracked 2>/dev/null | head -n 1)" vmlinux
	@chmod u+w vmlinux
kernel/%.o: $(src)/kernel/%.c .config
	@mkdir -p kernel
	@echo "  CC      $@"
	@sleep 0.02
	@gcc -c $< -o $@
tinyconfig defconfig:
	@echo "CONFIG_BASE_$@=y" > .config
# The last word on an option counts; those that the file "lose" names get lost.
olddefconfig:
	@awk -F= '/^# CONFIG_/ { delete v[$$2]; sub(/^# /, ""); sub(/ is not set/, ""); delete v[$$0]; next } \
	/^CONFIG_/ { v[$$1] = $$0 } END { for (k in v) print v[k] }' .config | sort > .config.new
	@if [ -f $(src)/lose ]; then grep -v -w -f $(src)/lose .config.new > .config; else cp .config.new .config; fi
	@rm .config.new
compile_commands.json:
	@echo "[]" > $@
clean:
	@rm -rf kernel/*.o vmlinux include/config
endif
"""
SOURCES = {f"kernel/part{number}.c": f"int part{number};\n" for number in range(OBJECTS)}
IGNORED = "*.o\nvmlinux\n.config*\ninclude/config/\ncompile_commands.json\nvmlinux.path\n"


def toy_tree(path: Path, vmlinux: Path) -> pygit2.Repository:
    """A repository with one commit of the toy tree.

    Where its vmlinux comes from is not in the commit; a commit of ``vmlinux.tracked`` says it to clones too.
    """
    repository = make_repository(path)
    files = {"Makefile": MAKEFILE, "Kconfig": "config SMP\n\tbool\n", ".gitignore": IGNORED, **SOURCES}
    commit_files(repository, files)
    (path / "vmlinux.path").write_text(f"{vmlinux}\n", encoding="utf-8")
    return repository


def configure(path: Path, text: str) -> None:
    """Give the tree a configuration of its own."""
    (path / ".config").write_text(text, encoding="utf-8")
