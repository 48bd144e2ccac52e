"""SerenityOS's calls about threads: beginning, ending, joining, names.

Not here: signals for threads (`signal.py`), futexes (`futex.py`), priorities (`sched.py`).
Source: Kernel/Syscalls/thread.cpp, Thread::try_join (reference, section 4.9).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final

from ring3.abi.procrecords import Word
from ring3.abi.x86 import EFLAGS, FS_BASE, GS_BASE, R15, RCX, RDI, RDX, RIP, RSI, RSP
from ring3.calls.guest import store
from ring3.calls.procarg import WordOut
from ring3.calls.serenity.argument import Params, copy_text
from ring3.calls.serenity.peer import find_own_thread
from ring3.calls.serenity.regions import unmap
from ring3.calls.serenity.sched import check_priority
from ring3.calls.serenity.tls import drop_thread_region, thread_region
from ring3.calls.sysarg import Addr, Int, Pid, Size, UInt, Unsigned
from ring3.calls.syscall import JUST_RETURN, syscall
from ring3.errors import EDEADLK, EFAULT, EINVAL, ENAMETOOLONG, ENOMEM, EOVERFLOW, Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.lifecycle import clone_thread, exit_process, exit_thread
from ring3.proc.proc import Thread
from ring3.proc.tasks import Task, task_of, tasks_of
from ring3.vm.traits import STACK
from ring3.waiting import sleep_on

NAME_MAX: Final = 64
_LONGEST_NAME: Final = 1 << 20              # what is read of a name before it is too long
_MASK: Final = (1 << 64) - 1

Value = Annotated[int, Unsigned()]


class ThreadParams(NamedTuple):
    """How a thread begins."""

    detach_state: UInt
    priority: Int
    guard_size: UInt
    reported_guard_size: UInt
    stack_size: UInt
    stack: Addr
    rdi: Value
    rsi: Value
    rcx: Value
    rdx: Value


@syscall(pledge="thread")
def sys_create_thread(
    t: Thread, entry: Addr, params: Annotated[ThreadParams, Params(ThreadParams, "<IiIII4xQQQQQ")]
) -> int:
    """One more thread, on a stack the caller made.  No signal is blocked in it.

    Raises EOVERFLOW for a stack beyond all addresses, EFAULT for one that is not stack memory, EINVAL for a priority outside 1 to
    99, EAGAIN, ENOMEM.
    """
    sp = params.stack + params.stack_size
    if sp > _MASK:
        raise EOVERFLOW
    if not _is_stack(t, (sp - 4) & _MASK):
        raise EFAULT
    check_priority(params.priority)
    task_of(t)
    child = clone_thread(t)
    try:
        _place(child, entry, sp, params)
    except Errno:
        exit_thread(child, 0)
        raise
    child.task = Task(joinable=not params.detach_state, priority=params.priority)
    child.comm = t.proc.comm + b" [%d]" % child.tid
    child.sigmask = 0
    if t.system.instruments:
        t.system.tell("fork", t, child)
    t.system.leave(child)
    return child.tid


def _is_stack(t: Thread, addr: int) -> bool:
    region = t.proc.vm.find(addr)
    return region is not None and region.traits is not None and bool(region.traits.marks & STACK)


def _place(child: Thread, entry: int, sp: int, params: ThreadParams) -> None:
    """Registers and thread-local storage of a new thread.  Raises ENOMEM."""
    regs = child.cpu.regs
    for register in range(R15, RDI + 1):
        regs[register] = 0
    regs[FS_BASE] = regs[GS_BASE] = 0
    regs[RIP], regs[RSP], regs[EFLAGS] = entry, sp, 0x202
    regs[RDI], regs[RSI], regs[RCX], regs[RDX] = params.rdi, params.rsi, params.rcx, params.rdx
    child.cpu.reset_xstate()
    regs[FS_BASE] = thread_region(child)


@syscall(pledge="thread")
def sys_exit_thread(t: Thread, value: Value, stack: Addr, size: Size) -> int:
    """End this thread and give its stack back; the last one ends the process, with status 0."""
    p = t.proc
    if len(p.live_threads()) == 1:
        exit_process(p, 0)
        return JUST_RETURN
    if stack:
        with suppress(Errno):
            unmap(p.vm, stack, size)
    drop_thread_region(t)
    tasks, task = tasks_of(p), task_of(t)
    task.ended, task.value = True, value
    if task.joinable:
        tasks.gone[t.tid] = task
    exit_thread(t, 0)
    tasks.left.wake()
    return JUST_RETURN


@syscall(pledge="thread")
async def sys_join_thread(t: Thread, tid: Pid, value: WordOut) -> int:
    """Wait for a thread to end; the value it left.  No signal ends that: it is taken when the thread has ended.

    Raises ESRCH, EDEADLK for oneself, EINVAL for one that is detached or has been joined, EFAULT.
    """
    if tid == t.tid:
        raise EDEADLK
    tasks, task = tasks_of(t.proc), _find(t, tid)
    if not task.joinable:
        raise EINVAL
    task.joinable = False
    tasks.gone.pop(tid, None)
    while not task.ended:
        await sleep_on(tasks.left, killable=True)
    if value:
        store(t, Word, value, task.value)
    return 0


@syscall(pledge="thread")
def sys_detach_thread(t: Thread, tid: Pid) -> int:
    """Nobody will join it.  Raises ESRCH, EINVAL for one that cannot be joined anyway."""
    task = _find(t, tid)
    if not task.joinable:
        raise EINVAL
    task.joinable = False
    tasks_of(t.proc).gone.pop(tid, None)
    return 0


def _find(t: Thread, tid: int) -> Task:
    """A thread of the process, one that ended and was not joined too.  Raises ESRCH."""
    gone = tasks_of(t.proc).gone.get(tid)
    return task_of(find_own_thread(t, tid)) if gone is None else gone


# --- names
@syscall(pledge="stdio")
def sys_set_thread_name(t: Thread, tid: Pid, name: Addr, length: Size) -> int:
    """Name a thread; the process's name stays.  Raises EFAULT, EINVAL over 64 bytes, ESRCH, ENOMEM for a text without end."""
    if length > _LONGEST_NAME:
        raise ENOMEM
    text = copy_text(t, name, length)
    if len(text) > NAME_MAX:
        raise EINVAL
    target = find_own_thread(t, tid)
    tasks = tasks_of(t.proc)
    if target.tid == t.proc.pid and tasks.title is None:
        tasks.title = target.comm
    target.comm = text
    return 0


@syscall(pledge="thread")
def sys_get_thread_name(t: Thread, tid: Pid, buffer: Addr, size: Size) -> int:
    """A thread's name, with its zero.  Raises EINVAL for no room at all, ESRCH, ENAMETOOLONG, EFAULT."""
    if not size:
        raise EINVAL
    name = find_own_thread(t, tid).comm + b"\0"
    if len(name) > size:
        raise ENAMETOOLONG
    t.proc.vm.copyout(buffer, name)
    return 0
