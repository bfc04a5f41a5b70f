"""Make a world with nothing in it but the interpreter's libraries. Runs in the sandboxed interpreter."""

# Not pathlib, which costs every program 10 ms of CPU; and /tmp is the program's own:
# ruff: noqa: PTH102, PTH103, S108

import os

from sandbox import linux
from sandbox.wire import Job

_NEW_ROOT = "/proc"
"""Where the new root is put together before it is moved to /: a folder that exists wherever ids can be mapped, that
no interpreter lives under, and that nobody has to make or remove."""

_DEVICES = ("null", "zero", "random", "urandom")

_ISOLATED = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
)


def enter(job: Job) -> None:
    """Move this process into fresh namespaces and a new root; its next child is pid 1 there.

    Root is used for two things only, reading the interpreter's folders (they may lie under a home that others cannot
    enter) and becoming somebody else; the namespaces are made after that. An ordinary user first makes a user
    namespace and builds the root inside it. Either way the process holds capabilities in its own namespace alone.

    Raises:  OSError naming the call that was refused.
    """
    own_proc = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    uid, gid = os.getuid(), os.getgid()
    os.umask(0o022)
    if uid == 0:
        linux.unshare(linux.CLONE_NEWNS, "mount, as root")
        _change_root(job)
        uid = gid = job.uid
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        linux.set_dumpable(True)
        linux.unshare(_ISOLATED, "user, as root")
        _map_ids(own_proc, uid, gid)
    else:
        linux.unshare(_ISOLATED | linux.CLONE_NEWNS, "user")
        _map_ids(own_proc, uid, gid)
        _change_root(job)
    os.close(own_proc)
    linux.set_host_name("sandbox")


def fresh_tmp(options: str) -> None:
    """Give this process a mount namespace with an empty /tmp of its own; both go when it ends."""
    linux.unshare(linux.CLONE_NEWNS, "mount")
    linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, options)
    os.chdir("/tmp")


def _map_ids(own_proc: int, uid: int, gid: int) -> None:
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        fd = os.open(file, os.O_WRONLY, dir_fd=own_proc)
        os.write(fd, text.encode())
        os.close(fd)


def _change_root(job: Job) -> None:
    read_only = linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", _NEW_ROOT, "tmpfs", linux.MS_NOSUID | linux.MS_NOEXEC, "size=256k,mode=755")
    for folder in job.folders:
        os.makedirs(_NEW_ROOT + folder, exist_ok=True)
        linux.mount(folder, _NEW_ROOT + folder, None, linux.MS_BIND | linux.MS_REC)
        linux.restrict_mount(_NEW_ROOT + folder, read_only, recursive=True)
    for folder in job.hidden:
        linux.mount("tmpfs", _NEW_ROOT + folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=4k,mode=555")
        linux.restrict_mount(_NEW_ROOT + folder, read_only, recursive=False)
    os.mkdir(_NEW_ROOT + "/tmp")
    os.mkdir(_NEW_ROOT + "/dev")
    for device in _DEVICES:
        os.close(os.open(f"{_NEW_ROOT}/dev/{device}", os.O_CREAT | os.O_WRONLY))
        linux.mount(f"/dev/{device}", f"{_NEW_ROOT}/dev/{device}", None, linux.MS_BIND)
    linux.change_root(_NEW_ROOT)
    linux.restrict_mount("/", read_only, recursive=False)
