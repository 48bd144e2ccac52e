"""What the face is called with, made into what a kernel takes: words, variables, users, mounts, policies.

Invariant: what makes no sense is refused here, with a TypeError or ValueError that says what was given and what to write instead;
nothing behind this has to wonder.  Not here: what the arguments mean (`kernel.py`), options of the command line (`cli/`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Final

from ring3.personality import BUILTIN

if TYPE_CHECKING:
    from ring3.boot import BootOptions, MountSpec
    from ring3.policy.confinement import Policy
    from ring3.policy.veriexec import VeriexecOptions
    from ring3.protocols import Instrument

StrOrBytes = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Env = Mapping[str, str] | Mapping[bytes, bytes]

_IDS: Final = (1 << 32) - 1             # the last one means "no change" in many calls
_ONE: Final = (str, bytes, os.PathLike)
_MOUNT: Final = 'a string "HOST:GUEST[:ro|:rw|:cow]" or a MountSpec'


def argument_vector(args: Sequence[StrOrBytes] | StrOrBytes, *, shell: bool = False) -> list[bytes]:
    """The words of a program as a guest gets them.  Raises TypeError for what are none, ValueError for none, and for a zero byte.

    >>> argument_vector(["ls", "-l"]), argument_vector("echo $HOME", shell=True)
    ([b'ls', b'-l'], [b'/bin/sh', b'-c', b'echo $HOME'])
    """
    words = [args] if isinstance(args, _ONE) else _list("args", args, "a list of strings, or one string")
    argv = [_encoded(f"args[{number}]", word) for number, word in enumerate(words)]
    if shell:
        argv = [b"/bin/sh", b"-c", *argv]
    if not argv:
        raise ValueError("args is empty: it must name a program")
    if any(b"\0" in word for word in argv):
        raise ValueError("embedded null byte")
    return argv


def environment(env: Env) -> dict[bytes, bytes]:
    """Variables as a guest gets them.  Raises TypeError for no mapping of strings, ValueError for what cannot be a variable."""
    encoded = {_encoded("a name in env", k): _encoded(f"env[{k!r}]", v) for k, v in _mapping("env", env).items()}
    if any(b"=" in key or b"\0" in key or b"\0" in value for key, value in encoded.items()):
        raise ValueError("illegal environment variable name or value")
    return encoded


def path(name: str, value: StrOrBytes | None) -> bytes | None:
    """A path of the guest.  Raises TypeError."""
    return None if value is None else _encoded(name, value)


def user_id(user: str | int | None) -> int | None:
    """The number of a user of the host.  Raises KeyError for a name there is not, ValueError for a number that is no id."""
    if isinstance(user, str):
        import pwd

        return pwd.getpwnam(user).pw_uid
    return None if user is None else _id("user", user)


def group_id(group: str | int | None, name: str = "group") -> int | None:
    """The number of a group of the host.  Raises KeyError for a name there is not, ValueError for a number that is no id."""
    if isinstance(group, str):
        import grp

        return grp.getgrnam(group).gr_gid
    return None if group is None else _id(name, group)


def group_ids(groups: Collection[str | int] | None) -> tuple[int, ...] | None:
    """Several of them.  Raises what `group_id` does, and TypeError for a None among them."""
    if groups is None:
        return None
    found = [group_id(group, "a group in extra_groups") for group in _list("extra_groups", groups, "a list of groups")]
    if None in found:
        raise TypeError("a group in extra_groups is a name or a number, not None")
    return tuple(number for number in found if number is not None)


def whole(name: str, value: Any) -> int:
    """A whole number.  Raises TypeError."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, not {_kind(value)}") from None


def system_name(name: str) -> str:
    """The name of a system whose programs run here.  Raises ValueError."""
    if name not in BUILTIN:
        raise ValueError(f"personality {name!r}: write one of {', '.join(BUILTIN)}")
    return name


def parse_policy(pledge: str | None, exec_pledge: str | None, mode: str, unveil: Sequence[str] | None) -> Policy:
    """What binds a program, from words.  Raises ValueError and TypeError that say what is wrong.

    >>> parse_policy("stdio rpath", None, "eperm", ["/usr:rx"]).unveils
    ((b'/usr', 5),)
    """
    from ring3.policy.confinement import MODES, Policy, parse_unveil
    from ring3.policy.promises import parse

    if mode not in MODES:
        raise ValueError(f"pledge mode {mode!r}: it is one of {', '.join(MODES)}")
    for name, words in (("pledge", pledge), ("exec_pledge", exec_pledge)):
        if words is not None and not isinstance(words, str):
            raise TypeError(f'{name} is one string, such as "stdio rpath", not {_kind(words)}')
    paths = None if unveil is None else _list("unveil", unveil, 'a list of strings, such as ["/usr:rx"]')
    for text in paths or ():
        if not isinstance(text, str):
            raise TypeError(f'each of unveil is a string, such as "/usr:rx", not {_kind(text)}')
    return Policy(
        None if pledge is None else parse(pledge),
        None if exec_pledge is None else parse(exec_pledge),
        mode,
        None if paths is None else tuple(parse_unveil(text) for text in paths),
    )


def policy_of(
    policy: Policy | None, pledge: str | None, exec_pledge: str | None, mode: str, unveil: Sequence[str] | None,
) -> Policy | None:
    """What binds a program: the policy given, or one made from words; None without any.  Raises what `parse_policy` does."""
    if policy is None:
        bound = pledge is not None or exec_pledge is not None or unveil is not None
        return parse_policy(pledge, exec_pledge, mode, unveil) if bound else None
    from ring3.policy.confinement import Policy as Kind

    if not isinstance(policy, Kind):
        raise TypeError(f"policy is a ring3.policy.confinement.Policy, not {_kind(policy)}")
    return policy


def veriexec_options(text: str | VeriexecOptions | None) -> VeriexecOptions | None:
    """What `veriexec` of a kernel says.  Raises TypeError, ValueError, OSError."""
    if text is None:
        return None
    from ring3.policy.veriexec import VeriexecOptions as Kind
    from ring3.policy.veriexec import parse_veriexec

    if isinstance(text, Kind):
        return text
    if not isinstance(text, str):
        raise TypeError(f'veriexec is a string "FILE[:LEVEL]", not {_kind(text)}')
    return parse_veriexec(text)


def parse_mount(text: str) -> MountSpec:
    """A `MountSpec` from "HOST:GUEST[:ro|:rw|:cow]".  Raises ValueError that says what is wrong.

    >>> parse_mount("/src:/work:rw")
    MountSpec(host='/src', guest='/work', mode='rw')
    """
    from ring3.boot import MODES, MountSpec

    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "ro"
    if len(parts) != 2 or mode not in MODES or not parts[0] or not parts[1].startswith("/"):
        raise ValueError(f"mount {text!r}: write HOST:GUEST, HOST:GUEST:ro, HOST:GUEST:rw or HOST:GUEST:cow, with GUEST absolute")
    return MountSpec(parts[0], parts[1], mode)


def boot_options(
    *,
    root: StrOrBytes,
    mounts: Sequence[str | MountSpec],
    seed: int | None,
    emul: Mapping[str, StrOrBytes],
    veriexec: str | VeriexecOptions | None,
    hostname: str = "ring3",
) -> BootOptions:
    """How to make a kernel.  Raises TypeError and ValueError for what makes no sense, OSError for what is not on the host."""
    from ring3.boot import BootOptions

    if not isinstance(hostname, str):
        raise TypeError(f"hostname is a string, not {_kind(hostname)}")
    options = BootOptions(
        root=os.fsdecode(os.path.abspath(_encoded("root", root))),
        mounts=tuple(_mount(mount) for mount in _list("mounts", mounts, 'a list of strings, such as ["/src:/work:rw"]')),
        seed=None if seed is None else whole("seed", seed),
        hostname=hostname,
        emul=tuple(
            (_emulation(name), os.fsdecode(os.path.abspath(_encoded(f"emul[{name!r}]", host))))
            for name, host in _mapping("emul", emul).items()
        ),
        veriexec=veriexec_options(veriexec),
    )
    options.check()
    return options


def watchers(instruments: Sequence[Instrument]) -> list[Instrument]:
    """Who watches a kernel.  Raises TypeError for what is no instrument."""
    found = _list("instruments", instruments, "a list of ring3.protocols.Instrument")
    if found:
        from ring3.protocols import Instrument

        for one in found:
            if not isinstance(one, Instrument):
                raise TypeError(f"each of instruments is a ring3.protocols.Instrument, not {_kind(one)}: derive a class from that")
    return found


def _mount(mount: Any) -> MountSpec:
    from ring3.boot import MountSpec

    if isinstance(mount, str):
        return parse_mount(mount)
    if not isinstance(mount, MountSpec):
        raise TypeError(f"a mount is {_MOUNT}, not {_kind(mount)}")
    return mount


def _emulation(name: Any) -> str:
    """The name of a personality.  One that nobody knows may be registered later; one that looks mistyped is refused."""
    if not isinstance(name, str):
        raise TypeError(f"a name in emul is a string, not {_kind(name)}")
    if name not in BUILTIN:
        from difflib import get_close_matches

        near = get_close_matches(name, BUILTIN, 1)
        if near:
            raise ValueError(f"emulation root of {name!r}: there is no such system; did you mean {near[0]}?")
    return name


def _encoded(name: str, value: Any) -> bytes:
    if not isinstance(value, _ONE):
        raise TypeError(f"{name} is a string, bytes or a path, not {_kind(value)}")
    return os.fsencode(value)


def _list(name: str, value: Any, wanted: str) -> list[Any]:
    """Several things.  One string is not several, a mapping neither."""
    if isinstance(value, (*_ONE, Mapping)):
        raise TypeError(f"{name} is {wanted}, not {_kind(value)}")
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{name} is {wanted}, not {_kind(value)}") from None


def _mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is a mapping, such as a dict, not {_kind(value)}")
    return value


def _id(name: str, value: Any) -> int:
    number = whole(name, value)
    if not 0 <= number < _IDS:
        raise ValueError(f"{name} {number}: an id is a number from 0 to {_IDS - 1}")
    return number


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
