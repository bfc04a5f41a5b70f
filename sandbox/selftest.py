"""Prove a tier before anything is trusted to it, and say what to do where it cannot start."""

import os
import platform
import sys
from pathlib import Path

# What every tier must refuse, asked by a program that runs in it. The names are those a refusal to run will show.
PROBE = f"""
import _socket, os

def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        return True
    return False

assert refused(_socket.socket), "a program can open a socket"
assert refused(os.fork), "a program can fork"
assert refused(os.execv, {sys.executable!r}, ["python"]), "a program can start another"
assert refused(open, {__file__!r}), "a program can read the files of this machine"
assert refused(os.listdir, "/proc"), "a program can see /proc"
assert refused(open, "/written", "w"), "a program can write outside of /tmp"
assert os.getuid() != 0, "a program runs as root"
""".encode()

FAILING = b"assert 1 == 2\n"


def why_refused(error: str) -> str:
    """Turn the call that was refused at start into one line that says which setting or capability is missing."""
    if "user" in error and _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "user namespaces are switched off: set sysctl user.max_user_namespaces to 10000 or more"
    if os.getuid() != 0 and _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are for root only here: set sysctl kernel.unprivileged_userns_clone=1"
    if os.getuid() != 0 and _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor refuses user namespaces: set sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    if "mount_setattr" in error:
        return f"Linux 5.12 or newer is needed, this is {platform.release()} ({error})"
    if "unshare" in error or "mount" in error or "pivot_root" in error:
        return (
            f"this machine or container refuses namespaces ({error}): give it CAP_SYS_ADMIN and a seccomp profile that "
            "allows unshare and mount"
        )
    return error


def _setting(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None  # not a setting of this kernel
