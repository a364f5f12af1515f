"""Bare Debian roots: made once into the cache by debootstrap, copied for each test, entered by chroot.

The commands inside have their own mounts and process ids, so that nothing outlives them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.cache import cache_root
from ktstr.host.flock import locked
from tests.bootstrap.checkout import copy_checkout

SITE_CERTIFICATES = Path("/usr/local/share/ca-certificates")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENTER = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'


def mirror() -> str:
    """The archive this machine itself installs from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert lines, "apt has no Debian archive: apt-get update"
    return lines[0]


def base(release: str) -> Path:
    """A pristine minbase root of ``release``, made when the cache has none."""
    assert os.geteuid() == 0, "making a root needs root: sudo ./doit check slow=1"
    assert shutil.which("debootstrap"), "debootstrap is missing: apt-get install debootstrap"
    folder = cache_root(os.environ) / "roots" / release
    with locked(folder.with_name(f".{release}.lock"), timeout_s=900):
        if not folder.exists():
            making = folder.with_name(f".tmp-{release}")
            shutil.rmtree(making, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", release, str(making), mirror()]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-2000:]
            making.rename(folder)
    return folder


@dataclass(frozen=True)
class BareRoot:
    """A root of its own with this checkout in ``/src`` and an unprivileged ``user``."""

    path: Path

    @property
    def checkout(self) -> Path:
        return self.path / "src"

    def command(self, *words: str, user: str = "root", network: bool = True) -> list[str]:
        """What runs ``words`` in ``/src`` as ``user``."""
        home = "/root" if user == "root" else f"/home/{user}"
        environ = ["env", "-i", f"PATH={PATH}", f"HOME={home}", "LANG=C.UTF-8"]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(() if network else ("--net",))]
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user != "root" else []
        return [
            *environ,
            *unshare,
            "sh",
            "-c",
            ENTER,
            str(self.path),
            *drop,
            "sh",
            "-c",
            'cd /src && exec "$@"',
            "sh",
            *words,
        ]

    def run(
        self, *words: str, user: str = "root", network: bool = True, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words, user=user, network=network),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """In the background; killing it kills everything in it, as a power cut would."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(self.command(*words), stdin=quiet, stdout=quiet, stderr=quiet)


def bare_root(path: Path, release: str) -> BareRoot:
    """A fresh copy of the pristine root at ``path``, with this machine's resolver and certificates."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base(release)), str(path)], check=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", path / "etc" / name)
    if SITE_CERTIFICATES.is_dir():
        shutil.copytree(SITE_CERTIFICATES, path / SITE_CERTIFICATES.relative_to("/"), dirs_exist_ok=True)
    root = BareRoot(path)
    copy_checkout(root.checkout)
    subprocess.run([*_chroot(path), "useradd", "--create-home", "user"], check=True)
    return root


def own(root: BareRoot, user: str) -> None:
    """Give the checkout to ``user``."""
    subprocess.run([*_chroot(root.path), "chown", "-R", f"{user}:{user}", "/src"], check=True)


def packages(root: BareRoot, action: str, names: Sequence[str]) -> None:
    """``apt-get ACTION NAMES`` in the root, as its administrator would."""
    done = root.run("sh", "-c", f"apt-get -qq update && apt-get -qq -y {action} {' '.join(names)}")
    assert done.returncode == 0, done.stderr


def _chroot(path: Path) -> list[str]:
    return ["env", f"PATH={PATH}", "chroot", str(path)]
