"""Pending signals: sets with what is known about each, and the real-time ones queued.

Source: signal(7) "Queueing and delivery semantics for standard signals".
"""

from __future__ import annotations

from ring3.abi.signals import SI_TIMER, SIGRTMIN, SYNCHRONOUS, SigInfo, bit

MAX_QUEUED = 4096        # per queue; beyond it a real-time signal is refused (RLIMIT_SIGPENDING is checked by the call)


class SigQueue:
    """`mask` has a bit for each pending signal.  Standard signals are kept once, real-time ones in order of arrival.

    `timers` are the POSIX timers (their ids) one of whose signals is here.
    """

    __slots__ = ("mask", "queued", "timers")

    def __init__(self) -> None:
        self.mask = 0
        self.queued: dict[int, list[SigInfo]] = {}
        self.timers: set[int] = set()

    def add(self, info: SigInfo) -> bool:
        """Queue one.  False when it was pending already (standard) or the queue is full (real-time)."""
        waiting = self.queued.setdefault(info.signo, [])
        if waiting and (info.signo < SIGRTMIN or len(waiting) >= MAX_QUEUED):
            return False
        waiting.append(info)
        self.mask |= bit(info.signo)
        if info.code == SI_TIMER:
            self.timers.add(info.timer_id)
        return True

    def take(self, allowed: int) -> SigInfo | None:
        """The next one whose bit is in `allowed`: faults of the CPU first, then the lowest number."""
        found = self.mask & allowed
        if not found:
            return None
        first = found & SYNCHRONOUS or found
        signo = (first & -first).bit_length()
        waiting = self.queued[signo]
        info = waiting.pop(0)
        if info.code == SI_TIMER:
            self.timers.discard(info.timer_id)
        if not waiting:
            del self.queued[signo]
            self.mask &= ~bit(signo)
        return info

    def flush(self, mask: int) -> None:
        """Forget all in `mask`."""
        for signo in [s for s in self.queued if mask & bit(s)]:
            self._forget_timers(self.queued.pop(signo))
        self.mask &= ~mask

    def _forget_timers(self, gone: list[SigInfo]) -> None:
        if self.timers:
            self.timers.difference_update(info.timer_id for info in gone if info.code == SI_TIMER)

    def flush_code(self, code: int) -> None:
        """Forget all that were sent with this `si_code`."""
        for signo, waiting in list(self.queued.items()):
            kept = [info for info in waiting if info.code != code]
            if kept:
                self.queued[signo] = kept
                self._forget_timers([info for info in waiting if info.code == code])
            else:
                self.flush(bit(signo))

    def __len__(self) -> int:
        return sum(map(len, self.queued.values()))
