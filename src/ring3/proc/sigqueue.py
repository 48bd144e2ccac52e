"""Pending signals: sets with what is known about each, and the real-time ones queued.

Source: signal(7) "Queueing and delivery semantics for standard signals".
"""

from __future__ import annotations

from ring3.abi.signals import SIGRTMIN, SYNCHRONOUS, SigInfo, bit

MAX_QUEUED = 4096        # per queue; beyond it a real-time signal is refused (RLIMIT_SIGPENDING is checked by the call)


class SigQueue:
    """`mask` has a bit for each pending signal.  Standard signals are kept once, real-time ones in order of arrival."""

    __slots__ = ("mask", "queued")

    def __init__(self) -> None:
        self.mask = 0
        self.queued: dict[int, list[SigInfo]] = {}

    def add(self, info: SigInfo) -> bool:
        """Queue one.  False when it was pending already (standard) or the queue is full (real-time)."""
        waiting = self.queued.setdefault(info.signo, [])
        if waiting and (info.signo < SIGRTMIN or len(waiting) >= MAX_QUEUED):
            return False
        waiting.append(info)
        self.mask |= bit(info.signo)
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
        if not waiting:
            del self.queued[signo]
            self.mask &= ~bit(signo)
        return info

    def flush(self, mask: int) -> None:
        """Forget all in `mask`."""
        for signo in [s for s in self.queued if mask & bit(s)]:
            del self.queued[signo]
        self.mask &= ~mask

    def flush_code(self, code: int) -> None:
        """Forget all that were sent with this `si_code`."""
        for signo, waiting in list(self.queued.items()):
            kept = [info for info in waiting if info.code != code]
            if kept:
                self.queued[signo] = kept
            else:
                self.flush(bit(signo))

    def __len__(self) -> int:
        return sum(map(len, self.queued.values()))
