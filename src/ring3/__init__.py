r"""ring3: a kernel you can import.  It lives in a Python process and runs real, unmodified programs.

    >>> import ring3
    >>> ring3.run(["/bin/sh", "-c", "echo $((6*7))"], capture_output=True).stdout
    b'42\n'

`run` is `subprocess.run` with a kernel in between: the program sees the host's files, and nothing it writes reaches them.
`Kernel` keeps one kernel, its files and its processes for many runs:

    >>> with ring3.Kernel() as kernel:
    ...     kernel.run(["/bin/sh", "-c", "echo kept > /tmp/ring3-note"]).returncode
    ...     kernel.run(["/bin/cat", "/tmp/ring3-note"], capture_output=True).stdout
    0
    b'kept\n'

`explain` says what running a program would do, and why, without doing it (docs/explain.md); `events` are what `Kernel.on` can hear
of.  docs/python.md has all of it, with examples.

`Process` is what `Kernel.spawn` gives back, shaped like `subprocess.Popen`.  `MachineUnavailable` is raised where this host
does not let guests run, and says what to allow; `KernelFault` is a bug of ring3 itself, with the call that met it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.kernel import DEVNULL, PIPE, STDOUT, Kernel, run
from ring3.process import Process

if TYPE_CHECKING:
    from ring3 import events as events
    from ring3.asking import explain
    from ring3.calls.trap import KernelFault
    from ring3.machine.base import MachineUnavailable

__version__ = "0.1.0"
__all__ = ["DEVNULL", "PIPE", "STDOUT", "Kernel", "KernelFault", "MachineUnavailable", "Process", "explain", "run"]


def __dir__() -> list[str]:
    """The names to complete: those that are imported when asked for are among them."""
    return sorted({*__all__, "__version__", "events", *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> Any:
    """The rarely needed names, imported when asked for (PEP 562): `import ring3` stays quick."""
    if name == "MachineUnavailable":
        from ring3.machine.base import MachineUnavailable

        return MachineUnavailable
    if name == "events":
        from importlib import import_module

        return import_module("ring3.events")
    if name == "explain":
        from ring3.asking import explain

        return explain
    if name == "KernelFault":
        from ring3.calls.trap import KernelFault

        return KernelFault
    raise AttributeError(f"module 'ring3' has no attribute {name!r}")
