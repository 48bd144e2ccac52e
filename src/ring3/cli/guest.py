"""What the commands have in common: options about the guest's world and about who runs, as rows, and what they
become.

`run`, `explain` and others put `WORLD` (and `USER`) before their own rows.  Not here: how rows are parsed
(`options.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.arguments import parse_mount
from ring3.cli.options import Option
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.boot import BootOptions


_PATH_MAX: Final = 4096         # bytes of a path with its zero, on Linux


class User(NamedTuple):
    """Who a program runs as: ids, and the supplementary groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def number(text: str) -> int:
    """A whole number, 0x and 0o allowed.  Raises ValueError."""
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("write a whole number") from None


def variable(text: str) -> str:
    """NAME=VALUE or NAME.  Raises ValueError."""
    if not text.partition("=")[0]:
        raise ValueError("write NAME=VALUE, or NAME to take a variable away")
    return text


def mount(text: str) -> Any:
    """A `MountSpec`.  Raises ValueError."""
    try:
        return parse_mount(text)
    except ValueError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def emulation(text: str) -> tuple[str, str]:
    """NAME=DIR of an emulation root.  Raises ValueError."""
    from ring3.personality import BUILTIN

    name, equals, host = text.partition("=")
    known = tuple(BUILTIN)[1:]          # programs of the first look at / itself
    if not equals or not host:
        raise ValueError("write NAME=DIR, such as netbsd=/srv/netbsd")
    if name not in known:
        raise ValueError(f"no system {name!r} has files elsewhere" + (f"; write one of {', '.join(known)}" if known else ""))
    return name, os.path.abspath(host)


def system(text: str) -> str:
    """The name of a system whose programs can be run.  Raises ValueError."""
    from ring3.personality import BUILTIN

    if text not in BUILTIN:
        raise ValueError(f"there is no system {text!r}; write one of {', '.join(BUILTIN)}")
    return text


def user(text: str) -> User:
    """UID[:GID], or the name of a user of the host.  A known user has its groups; another number its own as group.

    Raises ValueError.

    >>> user("1000:100"), user("54321")
    (User(uid=1000, gid=100, groups=()), User(uid=54321, gid=54321, groups=()))
    """
    import pwd

    name, colon, group = text.partition(":")
    try:
        known = pwd.getpwuid(_id(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdecimal():
            raise ValueError("there is no such user on the host; write UID, UID:GID or a name") from None
        known = None
    uid = _id(name) if known is None else known.pw_uid
    if colon:
        return User(uid, _id(group), ())
    if known is None:
        return User(uid, uid, ())
    return User(uid, known.pw_gid, tuple(sorted(set(os.getgrouplist(known.pw_name, known.pw_gid)))))


def _id(text: str) -> int:
    if not text.isdecimal() or int(text) >= (1 << 32) - 1:
        raise ValueError("write UID, UID:GID or a name")
    return int(text)


ENV: Final = Option("--env", "NAME=VALUE", "set a variable; NAME alone takes it away", variable, many=True)
CWD: Final = Option("--cwd", "DIR", "start in this directory of the guest")
MOUNT: Final = Option(
    "--mount", "HOST:GUEST[:MODE]", "show a host directory or file; MODE: ro (default), rw, cow (writes stay in memory)", mount,
    many=True,
)
ROOT: Final = Option("--root", "DIR", "host directory to show as / (writes stay in memory)")
SEED: Final = Option("--seed", "N", "make addresses and random numbers repeatable", number)
USER: Final = Option("--user", "UID[:GID]", "run as this user: ids, or the name of a user of the host", user)
SYSTEM: Final = Option("--as", "SYSTEM", "run it as a program of this system would: linux (default), netbsd, serenity", system)

EMUL: Final = Option(
    "--emul", "NAME=DIR", "programs of system NAME look in this host directory first; writes stay in memory", emulation, many=True,
)

WORLD: Final = (ENV, CWD, MOUNT, ROOT, EMUL, SEED)


def environment(changes: Sequence[str]) -> dict[str, str]:
    """The caller's environment with the changes that `--env` asks for."""
    env = dict(os.environ)
    if env.get("LC_CTYPE") == "C.UTF-8" and "LC_ALL" not in env and not _was_given(b"LC_CTYPE"):
        del env["LC_CTYPE"]                     # Python set it for itself (PEP 538)
    for change in changes:
        name, equals, value = change.partition("=")
        if equals:
            env[name] = value
        else:
            env.pop(name, None)
    return env


def _was_given(name: bytes) -> bool:
    """Whether our caller gave us that variable."""
    try:
        with open("/proc/self/environ", "rb") as file:
            return any(entry.startswith(name + b"=") for entry in file.read().split(b"\0"))
    except OSError:
        return True


def lost_directory(values: dict[str, Any]) -> str:
    """What is to be said where the guest sees our files, but cannot start where we are; "" where it can."""
    if "--cwd" in values or "--root" in values:
        return ""
    try:
        size = len(os.getcwdb())
    except OSError:
        return "the directory we are in is gone, so the program starts in /; --cwd DIR says where else"
    too_long = f"the directory we are in has a path of {size} bytes; 4095 are allowed, so the program starts in /"
    return too_long if size >= _PATH_MAX else ""


def identity(who: User | None) -> dict[str, Any]:
    """What `Kernel.spawn` is told of `--user`."""
    return {} if who is None else {"user": who.uid, "group": who.gid, "extra_groups": who.groups}


def say(error: OSError) -> str:
    """An error of the host in a line."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    try:
        os.getcwd()
    except OSError:
        return "the directory we are in is gone; go to another one, or write whole paths"
    return str(error.strerror or error)


def boot_options(values: dict[str, Any]) -> BootOptions:
    """How to make a kernel for `WORLD`.  Raises OSError for a root or mount that is not there."""
    from ring3.boot import BootOptions

    options = BootOptions(
        root=os.path.abspath(values.get("--root", "/")), mounts=tuple(values["--mount"]), seed=values.get("--seed"),
        veriexec=values.get("--veriexec"), emul=tuple(values.get("--emul", ())),
    )
    options.check()
    return options
