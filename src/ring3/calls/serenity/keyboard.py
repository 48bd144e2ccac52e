"""SerenityOS's calls about the keyboard's map, and its speaker.  There is neither keyboard nor speaker: the map is kept to be told.

Source: Kernel/Syscalls/{keymap,beep}.cpp, LibKeyboard/CharacterMapData.h (reference, sections 2.3 and 4.5).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.calls.serenity.argument import Params, copy_path
from ring3.calls.sysarg import Addr, Size
from ring3.calls.syscall import syscall
from ring3.errors import ENAMETOOLONG, ENODEV, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread

NAME_MAX: Final = 50
KEYS: Final = 0x80                          # of each map, by scan code; a u32 each
_NBYTES: Final = 4 * KEYS
_PLAIN: Final = "\0\x1b1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 "
_SHIFTED: Final = '\0\x1b!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:"~\0|ZXCVBNM<>?\0*\0 '


class Keymap(NamedTuple):
    """Its name and five maps: plain, shifted, alt, altgr, shifted altgr."""

    name: bytes
    maps: tuple[bytes, ...]


def _map_of(keys: str) -> bytes:
    return keys.encode("utf-32-le").ljust(_NBYTES, b"\0")


def keymap_of(t: Thread) -> Keymap:
    """The map in force: en-us until somebody sets another."""
    if t.system.keymap is None:
        plain, shifted = _map_of(_PLAIN), _map_of(_SHIFTED)
        t.system.keymap = Keymap(b"en-us", (plain, shifted, plain, plain, shifted))
    found: Keymap = t.system.keymap
    return found


class KeymapParams(NamedTuple):
    """SC_setkeymap_params and SC_getkeymap_params: where the maps are, and the name."""

    plain: Addr
    shifted: Addr
    alt: Addr
    altgr: Addr
    shifted_altgr: Addr
    name: Addr
    name_size: Size


KeymapArg = Annotated[KeymapParams, Params(KeymapParams, "<7Q")]


@syscall(pledge="getkeymap")
def sys_getkeymap(t: Thread, params: KeymapArg) -> int:
    """The name of the keyboard's map, without a zero, and the maps.  ENAMETOOLONG for too little room, EFAULT."""
    keymap = keymap_of(t)
    if params.name_size < len(keymap.name):
        raise ENAMETOOLONG
    t.proc.vm.copyout(params.name, keymap.name)
    for addr, keys in zip(params[:5], keymap.maps, strict=True):
        t.proc.vm.copyout(addr, keys)
    return 0


@syscall(pledge="setkeymap")
def sys_setkeymap(t: Thread, params: KeymapArg) -> int:
    """Set the keyboard's map.  EPERM unless root, EFAULT, EINVAL for no name, ENAMETOOLONG over 50 bytes."""
    if not t.proc.cred.privileged:
        raise EPERM
    maps = tuple(t.proc.vm.copyin(addr, _NBYTES) for addr in params[:5])
    name = copy_path(t, params.name, params.name_size)
    if len(name) > NAME_MAX:
        raise ENAMETOOLONG
    t.system.keymap = Keymap(name, maps)
    return 0


@syscall(pledge="")
def sys_beep(t: Thread) -> int:
    """ENODEV: a speaker is off unless the kernel is started with one, and none is here."""
    del t
    raise ENODEV
