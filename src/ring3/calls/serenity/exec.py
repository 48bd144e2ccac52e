"""execve of SerenityOS: its parameters, in the order the kernel looks at them.  What an exec does stands in `exec/`.

Source: Kernel/Syscalls/execve.cpp, sys$execve (reference, section 1.2).
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Final

from ring3.calls.exec import execute
from ring3.calls.serenity.argument import PATH, Params, copy_text
from ring3.calls.sysarg import Addr, Kind, Size, quote
from ring3.calls.syscall import syscall
from ring3.errors import E2BIG, EINVAL, ENOMEM, Errno
from ring3.exec.package import ExecRequest
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread

ARG_MAX: Final = 65536                      # strings, of arguments and of the environment each
MOST_BYTES: Final = 1 << 26                 # of all strings together: far over what any exec accepts
SHOWN: Final = 32


class ExecveParams(NamedTuple):
    """The path, the arguments, the environment: each an address and a length, or a count of pairs of them."""

    path: Addr
    path_length: Size
    arguments: Addr
    argument_count: Size
    environment: Addr
    environment_count: Size


class _Shown(Params):
    """As Linux's execve prints: the path, the arguments, how much environment."""

    show_result = Kind.show_result          # nothing is filled in

    def show(self, t: Thread, value: Any) -> str:
        try:
            path = quote(copy_text(t, value.path, min(value.path_length, 4096)), None)
            argv = strings(t, value.arguments, min(value.argument_count, SHOWN))
            shown = ", ".join(quote(text[:SHOWN], len(text)) for text in argv)
        except Errno:
            return hex(value.path)
        return f"{path}, [{shown}], {value.environment:#x} /* {value.environment_count} vars */"


@syscall(pledge="exec")
def sys_execve(t: Thread, params: Annotated[ExecveParams, _Shown(ExecveParams, "<QQQQQQ")]) -> int:
    """Run another program in this process.  E2BIG, EINVAL, ENAMETOOLONG, EFAULT, and what exec refuses with."""
    if params.argument_count > ARG_MAX or params.environment_count > ARG_MAX:
        raise E2BIG("more than 65536 strings")
    if not params.argument_count:
        raise EINVAL("no arguments: the program's name is the least")
    path = PATH.read(t, params.path, params.path_length) or b""
    argv = strings(t, params.arguments, params.argument_count)
    envp = strings(t, params.environment, params.environment_count)
    return execute(t, ExecRequest(path, argv, envp, 8))


def strings(t: Thread, addr: int, count: int) -> list[bytes]:
    """A list of strings, each told by its address and length.  Raises EFAULT, ENOMEM for more than `MOST_BYTES`.

    The caller has bounded `count`; for none the address is not looked at.
    """
    if not count:
        return []
    pairs = list(struct.iter_unpack("<QQ", t.proc.vm.copyin(addr, 16 * count)))
    if sum(nbytes for _, nbytes in pairs) > MOST_BYTES:
        raise ENOMEM
    return [copy_text(t, start, nbytes) for start, nbytes in pairs]
