"""The initial stack, word by word, with what each word is.

What the dump knows is what a new program knows: the stack pointer, the registers, and the two ways in which systems lay a
stack out: argc, argument pointers, 0, environment pointers, 0, auxiliary vector (System V); or without argc, which comes in
rdi as main's first parameter does, with the pointers' places in rsi and rdx.  Strings are found by following the pointers.
Bounded by the stack itself; a stack of another shape is shown as plain bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi import elf, x86
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan, StackImage

# In the order of abi.x86.
REGISTERS: Final = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs",
    "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)
_AUX_NAMES: Final = MappingProxyType({value: name for name, value in vars(elf).items() if name.startswith("AT_")})
# Numbers that systems use for different things.
_OTHER_NAMES: Final = MappingProxyType({
    ("linux", elf.AT_GID): "AT_GID", ("serenity", elf.AT_GID): "AT_GID", ("serenity", 1): "AT_IGNORE", ("serenity", 2): "AT_EXECFD",
})
_STRINGS: Final = frozenset({elf.AT_EXECFN, elf.AT_PLATFORM, elf.AT_SUN_EXECNAME})
_POINTERS: Final = MappingProxyType({elf.AT_RANDOM: 16})

# What an entry tells the new program.
AUX_MEANING: Final = MappingProxyType(
    {
        "AT_SYSINFO_EHDR": "the clock page (vDSO)",
        "AT_SYSINFO": "how 32-bit programs make a call (vDSO)",
        "AT_MINSIGSTKSZ": "bytes a signal frame may take",
        "AT_HWCAP": "what this CPU can",
        "AT_HWCAP2": "what else it can",
        "AT_HWCAP3": "what else it can",
        "AT_PAGESZ": "bytes of a page",
        "AT_CLKTCK": "ticks a second of times(2)",
        "AT_PHDR": "the program headers in memory",
        "AT_PHENT": "bytes of one",
        "AT_PHNUM": "how many",
        "AT_BASE": "where the loader stands",
        "AT_FLAGS": "",
        "AT_ENTRY": "the program's own entry point",
        "AT_UID": "real user",
        "AT_EUID": "effective user",
        "AT_GID": "real group",
        "AT_EGID": "effective group",
        "AT_SECURE": "whether to distrust the environment",
        "AT_RANDOM": "16 random bytes",
        "AT_EXECFN": "the name it was run by",
        "AT_PLATFORM": "the kind of CPU",
        "AT_STACKBASE": "where the stack begins",
        "AT_SUN_EXECNAME": "the program's own path",
        "AT_NETBSD_EUID": "effective user",
        "AT_NETBSD_RUID": "real user",
        "AT_NETBSD_EGID": "effective group",
        "AT_NETBSD_RGID": "real group",
        "AT_RSEQ_FEATURE_SIZE": "bytes of struct rseq",
        "AT_RSEQ_ALIGN": "and its alignment",
        "AT_EXECFD": "the program's file, open for the loader",
        "AT_IGNORE": "an entry that says nothing",
        "AT_NULL": "the end of the vector",
    }
)


class Item(NamedTuple):
    """Some bytes of the stack.  `kind`: "word", "pair" (auxv), "string", "bytes", "zeros".  `label` says what they are.

    `value` is the number of a word, or a pair's second one.
    """

    addr: int
    length: int
    kind: str
    label: str
    value: int = 0
    data: bytes = b""
    meaning: str = ""


def aux_name(plan: ExecPlan, number: int) -> str:
    """What an entry of the auxiliary vector is called in the plan's system."""
    return _OTHER_NAMES.get((plan.personality.name, number)) or _AUX_NAMES.get(number, f"AT_{number}")


def dump(plan: ExecPlan) -> list[Item]:
    """All of it, lowest address first; neighbours touch, nothing is left out."""
    items = sorted(_known(plan), key=lambda item: item.addr)
    stack, found, at = plan.stack, [], plan.stack.sp
    for item in items:
        if item.addr < at or item.length <= 0:
            continue                                # strings may share bytes: the first one is shown
        if item.addr > at:
            found.append(_gap(stack, at, item.addr))
        found.append(item)
        at = item.addr + item.length
    end = stack.sp + len(stack.data)
    if at < end:
        found.append(_gap(stack, at, end))
    return _mark_registers(plan, found)


def _first_argument(plan: ExecPlan, words: list[int]) -> int:
    """Which word of the stack is argv[0]; environment pointers and the auxiliary vector come behind them.  -1: nobody knows."""
    argc, registers = len(plan.argv), dict(plan.registers)
    argv, odd = divmod(registers.get(x86.RSI, 0) - plan.stack.sp, plan.arch.word_size)
    envp = registers.get(x86.RDX, 0) - plan.stack.sp
    if words[:1] == [argc]:
        first = 1
    elif registers.get(x86.RDI) == argc and argv >= 0 and not odd and envp == (argv + argc + 1) * plan.arch.word_size:
        first = argv
    else:
        return -1
    ends = (first + argc, first + argc + 1 + len(plan.envp))
    return first if ends[1] + 2 * len(plan.stack.auxv) < len(words) and not any(words[end] for end in ends) else -1


def _known(plan: ExecPlan) -> Iterator[Item]:
    """What can be told of the stack, in no order."""
    stack, word_size = plan.stack, plan.arch.word_size
    words = memoryview(stack.data[: len(stack.data) // word_size * word_size]).cast("Q" if word_size == 8 else "I").tolist()
    argc, envc = len(plan.argv), len(plan.envp)
    at = _first_argument(plan, words)
    if at < 0:
        return
    if at == 1 and words[0] == argc:
        yield Item(stack.sp, word_size, "word", "argc", argc)
    for name, number in (("argv", argc), ("envp", envc)):
        for index in range(number):
            yield Item(stack.sp + at * word_size, word_size, "word", f"{name}[{index}]", words[at])
            yield from _string(stack, words[at], f"{name}[{index}]")
            at += 1
        yield Item(stack.sp + at * word_size, word_size, "word", f"{name}[{number}]", 0, meaning=f"the end of {name}")
        at += 1
    for _ in stack.auxv:
        kind, value = words[at], words[at + 1]
        label = aux_name(plan, kind)
        yield Item(stack.sp + at * word_size, 2 * word_size, "pair", label, value, meaning=AUX_MEANING.get(label, ""))
        if kind in _STRINGS:
            yield from _string(stack, value, label)
        elif kind in _POINTERS and stack.sp <= value <= stack.sp + len(stack.data) - _POINTERS[kind]:
            start = value - stack.sp
            yield Item(value, _POINTERS[kind], "bytes", label, data=stack.data[start : start + _POINTERS[kind]])
        at += 2
    yield from _ps_strings(stack, word_size)


def _ps_strings(stack: StackImage, word_size: int) -> Iterator[Item]:
    """Where a NetBSD program finds its strings (<sys/exec.h>): two pointers, each with a count behind it."""
    at = stack.ps_strings
    names = ("ps_argvstr", "ps_nargvstr", "ps_envstr", "ps_nenvstr")
    if at and stack.sp <= at <= stack.sp + len(stack.data) - 4 * word_size:
        for name in names:
            start = at - stack.sp
            yield Item(at, word_size, "word", name, int.from_bytes(stack.data[start : start + word_size], "little"))
            at += word_size


def _string(stack: StackImage, addr: int, label: str) -> Iterator[Item]:
    start = addr - stack.sp
    if 0 <= start < len(stack.data):
        end = stack.data.find(b"\0", start)
        if end >= 0:
            yield Item(addr, end + 1 - start, "string", label, data=stack.data[start:end])


def _gap(stack: StackImage, start: int, end: int) -> Item:
    data = stack.data[start - stack.sp : end - stack.sp]
    if any(data):
        return Item(start, end - start, "bytes", "", data=data)
    return Item(start, end - start, "zeros", "gap")


def _mark_registers(plan: ExecPlan, items: list[Item]) -> list[Item]:
    """A register that points at an item is told beside it; one that points into a gap parts it there."""
    found = list(items)
    names: dict[int, list[str]] = {}
    for register, value in plan.registers:
        names.setdefault(value, []).append(REGISTERS[register])
    for value, registers_there in names.items():
        for index, item in enumerate(found):
            if item.addr <= value < item.addr + item.length:
                if item.addr < value and item.kind in ("bytes", "zeros"):
                    found[index : index + 1] = [
                        _gap(plan.stack, item.addr, value),
                        _gap(plan.stack, value, item.addr + item.length),
                    ]
                    index += 1
                    item = found[index]
                if item.addr == value:
                    note = f"{' and '.join(registers_there)} point{'' if registers_there[1:] else 's'} here"
                    found[index] = item._replace(meaning=f"{item.meaning}; {note}" if item.meaning else note)
                break
    return found


def registers(plan: ExecPlan) -> list[tuple[str, int]]:
    """The registers that are not zero, by name."""
    return [(REGISTERS[number], value) for number, value in plan.registers]

