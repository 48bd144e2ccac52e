"""The native machine: guests run directly on this CPU, in traced host processes ("stubs").

`NativeMachine` is the whole of it for those outside; read `machine.py` first, then `ptrace.py` and `code.py`.

Not here: anything a guest could tell from its registers and memory; system calls; policy.
"""

from ring3.machine.base import MachineUnavailable
from ring3.machine.native.machine import NativeMachine

__all__ = ["MachineUnavailable", "NativeMachine"]
