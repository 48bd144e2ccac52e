"""CPU time of threads and processes: what the machine measured.

All of it counts as user time: the time this kernel spends serving calls is not told apart (the host's own clock of a guest
thread holds the host's work at its stops).  Source: getrusage(2), times(2), clock_getcpuclockid(3).
"""

from __future__ import annotations

from ring3.proc.proc import Proc, Thread, ThreadState, Usage


def thread_ns(t: Thread) -> int:
    """CPU time of one thread, ns."""
    if t.state is ThreadState.DEAD:
        return t.past_cpu_ns
    return t.past_cpu_ns + t.cpu.cpu_time_ns()


def process_ns(p: Proc) -> int:
    """CPU time of a process, ns: its living threads' and what its dead ones left."""
    return p.usage.user_ns + sum(thread_ns(t) for t in p.threads.values() if t.state is not ThreadState.DEAD)


def bank(t: Thread) -> None:
    """Before the machine thread of `t` goes (exec gives another, or `t` ends): keep its time."""
    t.past_cpu_ns += t.cpu.cpu_time_ns()


def settle(t: Thread) -> None:
    """`t` ends: its time goes to its process."""
    bank(t)
    t.proc.usage.user_ns += t.past_cpu_ns


def usage_now(p: Proc) -> Usage:
    """The process's usage with the times of its living threads in it."""
    usage = Usage()
    usage.add(p.usage)
    if not p.zombie:
        usage.user_ns = process_ns(p)
        usage.max_rss = max(usage.max_rss, p.vm.peak_bytes)
    return usage
