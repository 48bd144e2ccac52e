"""The first exec of a process that has no program yet (NetBSD starts init so): no old space, no old machine thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ring3.exec.execute import execute
from ring3.exec.package import ExecRequest

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

DEFAULT_PATH: Final = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def exec_first(t: Thread, path: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> None:
    """Give `t` its program; the process may be dead afterwards, as a process is that execs an impossible image.

    Raises the `Errno` of the refusal; `t` has no program then, as before.
    """
    execute(t, ExecRequest(path, list(argv), list(envp)))


def along_path(name: bytes, path: bytes) -> list[bytes]:
    """What execvp(3) tries for a name without a slash.  An empty directory is the present one.

    >>> along_path(b"ls", b"/bin::/usr/bin")
    [b'/bin/ls', b'./ls', b'/usr/bin/ls']
    """
    return [(directory or b".") + b"/" + name for directory in path.split(b":")]
