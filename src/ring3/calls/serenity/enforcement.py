"""What SerenityOS looks at before every system call, and at every fault: the stack pointer, and where the call comes from.

The rows of its table look first (`Checked`), whatever the call, whether there is one of that number, whoever watches or confines;
what is wrong is a SIGSEGV at the caller and the call is not made.  Where a handler takes that signal nothing is said of it, as
there; it returns behind the instruction with every register as it was, where the original goes on to make the call inside of the
handler's frame.

Not here: what sets the marks (`memory.py`, exec), the handler's frame.
Source: MemoryManager::validate_syscall_preconditions, page_fault_handler, handle_crash (reference, section 1.15).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import Prot
from ring3.abi.signals import SI_KERNEL, SIG_DFL, SIG_IGN, SigInfo, Signal, bit
from ring3.abi.x86 import ORIG_RAX, RAX, RIP, RSP
from ring3.calls.syscall import JUST_RETURN, Bound, Syscall, Sysent
from ring3.errors import ENOSYS
from ring3.policy.confinement import Decision, call_of, tell
from ring3.proc import signals
from ring3.proc.proc import Thread
from ring3.vm.traits import STACK, SYSCALL

if TYPE_CHECKING:
    from ring3.abi.stop import Fault
    from ring3.protocols import Abi

BAD_STACK: Final = "the stack pointer is not in a stack region"
NOWHERE: Final = "a call from unknown memory"
WRITABLE: Final = "a call from writable memory"
NO_WAY_IN: Final = "an instruction that is no way into this kernel"
UNMARKED: Final = "a call from outside of the syscall regions"
_WRITE: Final = int(Prot.WRITE)


def fault_of(t: Thread, regs: memoryview) -> str | None:
    """What forbids the thread to call from where it is; None: nothing.  The instruction pointer stands behind the instruction."""
    vm = t.proc.vm
    stack = vm.find(regs[RSP])
    if stack is None or stack.traits is None or not stack.traits.marks & STACK:
        return BAD_STACK
    code = vm.find(regs[RIP])
    if code is None:
        return NOWHERE
    if code.prot & _WRITE:
        return WRITABLE
    if vm.traits is not None and vm.traits.enforces and (code.traits is None or not code.traits.marks & SYSCALL):
        return UNMARKED
    return None


def crash(t: Thread, fault: str) -> int:
    """The call is not made: the thread gets SIGSEGV, for its handler or to die of, which is told."""
    t.cpu.regs[RAX] = t.cpu.regs[ORIG_RAX]
    if not _takes(t, Signal.SIGSEGV):
        tell(t, Decision("call", "SIGSEGV", fault, call_of(t), ""))
    signals.force(t, signals.kernel_signal(Signal.SIGSEGV))
    return JUST_RETURN


def _takes(t: Thread, signo: int) -> bool:
    """Whether a handler of the program's will be entered for a signal that is forced on it now (handle_crash asks the same)."""
    return t.proc.actions.table[signo].handler not in (SIG_DFL, SIG_IGN) and not t.sigmask & bit(signo)


def fault_signal(t: Thread, fault: Fault) -> SigInfo:
    """What a fault becomes: a page fault with a bad stack is a SIGSEGV, whatever else it were."""
    if fault.code != SI_KERNEL and fault.signal in (Signal.SIGSEGV, Signal.SIGBUS):
        stack = t.proc.vm.find(t.cpu.regs[RSP])
        if stack is None or stack.traits is None or not stack.traits.marks & STACK:
            if not _takes(t, Signal.SIGSEGV):
                tell(t, Decision("call", "SIGSEGV", BAD_STACK, f"page fault at {fault.addr:#x}", ""))
            return SigInfo(Signal.SIGSEGV, fault.code, addr=fault.addr)
    return SigInfo(fault.signal, fault.code, addr=fault.addr)


class Checked(Bound):
    """A row that looks before it serves."""

    __slots__ = ()

    def _compile(self) -> Callable[[Thread, memoryview], Any]:
        serve = super()._compile()

        def checked(t: Thread, regs: memoryview) -> Any:
            fault = fault_of(t, regs)
            if fault is not None:
                return crash(t, fault)
            if regs[ORIG_RAX] >> 32:                # a number is a whole word there
                raise ENOSYS
            return serve(t, regs)

        return checked

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """While somebody watches the parts of a call are made one by one: the crash is the call then.  Raises ENOSYS."""
        fault = fault_of(t, regs)
        if fault is not None:
            return Bound(_crashing(fault), self.abi, self.name, ())
        if regs[ORIG_RAX] >> 32:
            raise ENOSYS
        return self

    def moved(self, pads: tuple[int, ...]) -> Bound:
        """It looks wherever its arguments stand."""
        return Checked(self.call, self.abi, self.name, pads)

    def serving(self, call: Syscall) -> Bound:
        """The same row with another declaration looks as well."""
        return Checked(call, self.abi, self.name, self.pads)


def _crashing(fault: str) -> Syscall:
    def run(t: Thread) -> int:
        return crash(t, fault)

    return Syscall(run, frozenset(), name="crash")


class NoWayIn(dict[int, Bound]):
    """The table behind the instructions of other systems (int 0x80, sysenter), which are faults here: every row crashes."""

    def __init__(self, abi: Abi) -> None:
        super().__init__()
        self._row = Bound(_crashing(NO_WAY_IN), abi, "other_way_in", ())

    def __missing__(self, number: int) -> Bound:
        return self._row


class CheckedSysent(Sysent):
    """SerenityOS's table: every number has a row, so that every call is looked at."""

    def __missing__(self, number: int) -> Bound:
        name = self._names.get(number)
        if name is None:            # not kept: a guest could fill the table
            return Checked(_missing(f"number {number}"), self._abi, f"syscall_{number:#x}")
        call = self.find(name) if name in self._homes else _missing(name)
        bound = self[number] = Checked(call, self._abi, name)
        return bound


def _missing(name: str) -> Syscall:
    """A call nobody wrote: counted, ENOSYS."""

    def run(t: Thread) -> int:
        t.system.count_missing(name)
        raise ENOSYS

    return Syscall(run, frozenset(), name="missing")
