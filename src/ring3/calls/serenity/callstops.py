"""Stops at calls: a traced process is held where its next call begins or ends (PT_SYSCALL).

While a process is traced its tables are these: a call that is to stop is a coroutine, which sleeps until the tracer lets it go on,
and reads number and arguments from the registers only then.  A process nobody traces knows nothing of all this.
Source: Kernel/Syscall.cpp, Process::tracer_trap (reference, sections 1.13, 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ring3.abi.signals import Signal
from ring3.abi.x86 import ORIG_RAX, RAX
from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import JUST_RETURN, Bound
from ring3.errors import EINTR, ENOSYS, Errno
from ring3.proc import signals
from ring3.proc.proc import Restart, Thread, ThreadState
from ring3.waiting import Interrupted, sleep_on

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.proc.tracing import Tracing
    from ring3.protocols import Abi


def stopping(own: Mapping[Arch, Abi]) -> Mapping[Arch, Abi]:
    """The tables of a process as they are while it is traced."""
    return RewrittenAbis(own, partial(_StoppingBound, own))


class _StoppingBound(Bound):
    """One call of a traced process."""

    __slots__ = ("_abis", "_own")

    def __init__(self, abis: Mapping[Arch, Abi], own: Bound) -> None:
        super().__init__(own.call.like(self._run), own.abi, own.name, own.pads)
        self._abis = abis
        self._own = own
        self.invoke = self._invoke

    def _invoke(self, t: Thread, regs: memoryview) -> Any:
        tracing = t.proc.tracing
        if tracing is not None and tracing.stops_at_call:
            return self._stop_first(t, tracing)
        return self._after(t, self._own.invoke(t, regs))

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """What the row itself resolves to, where that is another call."""
        found = self._own.resolve(t, regs)
        return self if found is self._own else found

    def begin(self, t: Thread, regs: memoryview) -> tuple[Any, ...]:
        """A call that stops first is made only then."""
        tracing = t.proc.tracing
        stops = tracing is not None and tracing.stops_at_call
        return self.decode(t, regs) if stops else self._own.begin(t, regs)

    def unread(self, t: Thread, refusal: Errno) -> Any:
        """What becomes of the row's own."""
        return self._own.unread(t, refusal)

    def _run(self, t: Thread, *args: Any) -> Any:
        """The same, where somebody watches and the arguments have been decoded."""
        tracing = t.proc.tracing
        if tracing is not None and tracing.stops_at_call:
            return self._stop_first(t, tracing)
        return self._after(t, self._own.call.run(t, *args))

    def _after(self, t: Thread, result: Any) -> Any:
        return self._awaited(t, result) if result.__class__ is CoroutineType else result

    async def _awaited(self, t: Thread, sleeping: Any) -> Any:
        """A call that sleeps may be told meanwhile to stop at its end."""
        try:
            result = await sleeping
        except (Errno, Interrupted, Restart) as refusal:
            if await self._stop_last(t, refusal):
                return JUST_RETURN
            raise
        return JUST_RETURN if await self._stop_last(t, result) else result

    async def _stop_first(self, t: Thread, tracing: Tracing) -> Any:
        regs = t.cpu.regs
        regs[RAX] = regs[ORIG_RAX]
        await _stop(t, tracing)
        regs[ORIG_RAX] = t.call_number = regs[RAX] & 0xFFFF_FFFF
        result: Any
        try:
            try:
                call = self._abis[t.cpu.arch].sysent[t.call_number]
            except KeyError:
                raise ENOSYS from None
            result = call.invoke(t, regs)
            if result.__class__ is CoroutineType:
                result = await result
        except (Errno, Interrupted, Restart) as refusal:
            if await self._stop_last(t, refusal):
                return JUST_RETURN
            raise
        return JUST_RETURN if await self._stop_last(t, result) else result

    async def _stop_last(self, t: Thread, result: Any) -> bool:
        """Whether it stopped; its result stands in the registers then."""
        tracing = t.proc.tracing
        if tracing is None or not tracing.stops_at_call or t.state is ThreadState.DEAD or result == JUST_RETURN:
            return False
        abi, regs = t.proc.personality.abis[t.cpu.arch], t.cpu.regs
        if isinstance(result, int):
            abi.succeed(regs, result)
        else:
            abi.refuse(regs, t.call_number, type(result) if isinstance(result, Errno) else EINTR)
        await _stop(t, tracing)
        return True


async def _stop(t: Thread, tracing: Tracing) -> None:
    """SIGTRAP stops the process; until it is let go on nothing but its death ends this."""
    p = t.proc
    tracing.stops_at_call = False
    signals.stop_process(p, Signal.SIGTRAP)
    while p.stopped_by and p.tracing is tracing:
        await sleep_on(tracing.resumed, killable=True)
    t.work &= ~signals.STOP_WORK
