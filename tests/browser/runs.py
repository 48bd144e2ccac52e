"""Made-up runs for tests and benchmarks of the report: many calls of many processes, always the same ones."""

from __future__ import annotations

import random
from pathlib import Path

from ring3.trace.html.document import Document, Head, Span
from ring3.trace.html.report import write_document

LIBRARIES = (("/usr/lib/x86_64-linux-gnu/libc.so.6", 1_900_000), ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", 224_000))
NAMES = ("openat", "read", "write", "close", "mmap", "munmap", "newfstatat", "rt_sigaction", "brk", "futex", "poll", "socket")
PROGRAMS = ("ls", "cc1", "make", "as", "ld", "grep")
GAP_NS = 14_000


def spans(program: str, base: int) -> list[Span]:
    """The address space of a program, placed at `base`."""
    found = [Span(base, 16384, 1, program), Span(base + 16384, 90112, 5, program), Span(base + 106496, 8192, 3, program)]
    found.append(Span(base + 0x1200000, 135168, 3, "[heap]"))
    at = 0x7F3A9C000000
    for library, size in LIBRARIES:
        for share, prot in ((0.1, 1), (0.6, 5), (0.28, 1), (0.02, 3)):
            length = max(int(size * share) // 4096, 1) * 4096
            found.append(Span(at, length, prot, library))
            at += length
    found.append(Span(0x7FFE3B5C1000, 135168, 3, "[stack]"))
    return found


def made(calls: int, processes: int = 12, hostile: str = "") -> tuple[Document, Head]:
    """A run of so many calls; `hostile` is a text that stands wherever a guest could put one."""
    chance, document, whole = random.Random(1), Document(), calls * GAP_NS
    first = document.process(2, "ring3", 0)
    threads = [document.thread(first, 2, 0)]
    born = [0]
    document.executed(threads[0], 0, "/bin/sh", ["sh", "-c", "make all"], name="sh", after=spans("/usr/bin/dash", 0x558122000000))
    for number in range(1, processes):
        at = whole * number // processes
        proc = document.process(2 + number, "sh", at, chance.randrange(number))
        threads.append(document.thread(proc, 2 + number, at))
        born.append(at)
        program = hostile if hostile and number == 1 else chance.choice(PROGRAMS)
        document.executed(
            threads[-1], at + 9000, f"/usr/bin/{program}", [program, f"file{number}.c"], name=program,
            facts=[("interpreter", LIBRARIES[1][0])], before=spans("/usr/bin/dash", 0x558122000000),
            after=spans(f"/usr/bin/{program}", 0x55F100000000 + number * 4096),
        )
    document.executed(threads[0], whole // 2, "/opt/tool", ["/opt/tool"], name="sh", error="ENOENT")
    for number in range(calls):
        _call(document, chance, number, threads, born, hostile)
    for index in range(processes):
        status = "killed by SIGSEGV" if index == 3 else "exited with 0"
        document.process_ended(index, status, whole - index * 100, is_bad=index == 3)
    document.signalled(threads[min(3, processes - 1)], whole // 3, f"SIGSEGV {{si_code=SEGV_MAPERR}} {hostile}")
    document.refused(threads[0], whole // 4, f'pledge, refused: "inet" is missing: socket(AF_INET) {hostile}')
    for number in range(8):
        document.woke(threads[0], threads[-1], whole // 2 + number * whole // 100)
    document.missing("landlock_create_ruleset")
    if hostile:
        document.file(hostile).deeds.add("created")
        document.file(b"\xff\x1b[31m\xe2\x80\xaecba").written = 9
    command = ["sh", "-c", f"make {hostile}"]
    return document, Head(f"make {hostile}", command, "linux", "exited with 0", is_good=True, began=1.7e9, ns=whole)


def _call(document: Document, chance: random.Random, number: int, threads: list[int], born: list[int], hostile: str) -> None:
    at = number * GAP_NS + chance.randrange(5000)
    alive = sum(moment + 10_000 <= at for moment in born) or 1
    name = chance.choice(NAMES)
    path = hostile if hostile and number % 7 == 0 else f"/usr/share/dir{chance.randrange(50)}/file{chance.randrange(3000)}.txt"
    args = {
        "openat": f'AT_FDCWD, "{path}", O_RDONLY|O_CLOEXEC', "read": f'3, "\\177ELF{number}"..., 832',
        "write": f'1, "line {number}\\n", 11', "mmap": f"NULL, {4096 * chance.randrange(1, 99)}, PROT_READ, MAP_PRIVATE, 3, 0",
    }.get(name, str(chance.randrange(9)))
    error = chance.choice(("ENOENT", "EACCES", "EAGAIN")) if chance.random() < 0.06 else ""
    row = document.call_began(threads[chance.randrange(alive)], name, at)
    result = f"-1 {error}" if error else str(chance.randrange(900))
    document.call_ended(row, at + chance.randrange(1000, GAP_NS), args, result, error)
    if name == "openat":
        file = document.file(path)
        file.opens += not error
        file.fails += bool(error)
        file.read += 832


def written(path: Path, calls: int, processes: int = 12, hostile: str = "") -> None:
    """A report of such a run, in a file."""
    document, head = made(calls, processes, hostile)
    with path.open("w", encoding="utf-8") as file:
        write_document(document, file, head, made_by="ring3 test")
