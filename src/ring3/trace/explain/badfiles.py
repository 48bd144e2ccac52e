"""Diagnoses about what a file is: of another kind, for another CPU, cut off, or impossible to lay out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.elf import ET_DYN, ET_EXEC
from ring3.trace.explain.case import Answer, Case, Row
from ring3.trace.explain.files import ET_CORE, ET_REL, Elf
from ring3.trace.explain.model import FormatSaid
from ring3.trace.explain.words import counted, meaning, quoted, shown, size, trouble

if TYPE_CHECKING:
    from ring3.trace.explain.files import FileKind

_PHDR_SIZE: Final = {32: 32, 64: 56}
_MOST_PHDR_BYTES: Final = 65536
_MAKE_AGAIN: Final = "an interrupted build or download leaves such a file: make it again"


def _kind(case: Case) -> FileKind | None:
    return case.kind if case.it.step in ("format", "script", "header") or case.kind is not None else None


def _empty(case: Case) -> Answer | None:
    kind, look = _kind(case), case.looks[-1] if case.looks else None
    if kind is None and look is not None and look.file is not None and look.file.size < 3:
        what = "an empty file" if not look.file.size else f"a file of {counted(look.file.size, 'byte')}"
        return f"{case.subject_of(look.found)} is {what}", (_MAKE_AGAIN,)
    if kind is None or kind.key not in ("empty", "zeros"):
        return None
    if kind.key == "empty":
        return f"{case.subject} is an empty file", (_MAKE_AGAIN,)
    return f"{case.subject} begins with nothing but zeros", ("an interrupted copy leaves such a file: copy it again",)


def _byte_order_mark(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or kind.key not in ("bom", "utf16"):
        return None
    path = case.spelled(case.headers[-1].path)
    if kind.key == "utf16":
        return f"{case.subject} is {kind.words}: no kernel reads that", (f"iconv -f UTF-16 -t UTF-8 {path}",)
    return (
        (f"a UTF-8 byte order mark (ef bb bf) stands before the #! of {case.spelled(case.headers[-1].path)}, "
         "so #! is not at its beginning"),
        (f"sed -i '1s/^\\xEF\\xBB\\xBF//' {path}",),
    )


# What stands in the first lines -> who would run it.
_LOOKS_LIKE: Final = (
    (b"import ", "python3"), (b"from ", "python3"), (b"def ", "python3"), (b"use strict", "perl"), (b"<?php", "php"),
    (b"console.", "node"),
)
_SOURCES: Final = ((b"#include", "C"), (b"int main", "C"), (b"package main", "Go"), (b"fn main", "Rust"))


def _text(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or kind.key != "text":
        return None
    name, head = case.spelled(case.headers[-1].path), case.it.heads[-1][:512]
    why = f"{case.subject} is neither an ELF program nor a script that begins with #!"
    language = next((language for mark, language in _SOURCES if mark in head), None)
    if language is not None:
        return f"{why}: it looks like a program's source in {language}", ("compile it first",)
    runner = next((runner for mark, runner in _LOOKS_LIKE if mark in head), "sh")
    if runner != "sh":
        return why, (f"for a script: {runner} {name}", f"or make its first line #!/usr/bin/env {runner}")
    return (
        f"{why} (a shell would run such a file itself; the kernel does not)",
        (f"for a shell script: sh {name}", "or make its first line #!/bin/sh"),
    )


def _bad_script(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or kind.key != "script" or case.it.error != "ENOEXEC":
        return None
    said = next(
        (e.reason for e in reversed(case.it.events) if isinstance(e, FormatSaid) and e.format == "script"),
        "it names no interpreter",
    )
    return (
        f"the first line of {case.spelled(case.headers[-1].path)} is no good: {said}",
        ("write the interpreter's whole path behind #!, in the first 250 bytes",),
    )


def _other_system(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or kind.key in ("elf", "script", "text", "data", "empty", "zeros", "truncated"):
        return None
    found = case.it.reason if case.it.reason.startswith("recognised as ") else kind.words
    return f"{case.subject} is {found}", (f"it is for {kind.system}",) if kind.system else ()


def _data(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or kind.key != "data" or case.it.error != "ENOEXEC":
        return None
    first = case.headers[-1].first[:8].hex(" ")
    return f"{case.subject} is no program: it begins with {first}", ("a program begins with 7f 45 4c 46 (ELF) or with #!",)


def _truncated(case: Case) -> Answer | None:
    kind = _kind(case)
    if kind is None or case.it.error not in ("ENOEXEC", "EIO", "EFAULT"):
        return None
    if kind.key == "truncated":
        return f"{case.subject} is {kind.words}", ("make or copy it again",)
    if "beyond the end" in case.it.reason:
        return f"{case.subject} is cut off: a segment reaches beyond the end of the file", ("make or copy it again",)
    elf, nbytes = kind.elf, case.it.sizes[-1] if case.it.sizes else 0
    if elf is None:
        return None
    end = elf.ehdr.phoff + elf.ehdr.phnum * elf.ehdr.phentsize
    if end > nbytes:
        return f"{case.subject} is cut off: its program headers end at byte {end}, the file at {nbytes}", ("make or copy it again",)
    return None


def _wrong_machine(case: Case) -> Answer | None:
    elf = _refused_elf(case)
    if elf is None:
        return None
    entries = case.t.system.execsw.entries
    machines = {number for entry in entries for number in getattr(entry, "machines", ())}
    if elf.ehdr.machine in machines and elf.order == "little-endian":
        return None
    if elf.ehdr.machine in machines:
        return f"{case.subject} is big-endian, and this CPU is not", ("build it for this CPU",)
    return (
        f"{case.subject} is for {elf.machine} ({elf.bits}-bit, {elf.order}); here is x86-64",
        ("build it for this CPU, or run it under qemu-user for that one",),
    )


def _refused_elf(case: Case) -> Elf | None:
    kind = _kind(case)
    return kind.elf if kind is not None and case.it.error in ("ENOEXEC", "ELIBBAD") else None


def _not_linked(case: Case) -> Answer | None:
    elf = _refused_elf(case)
    if elf is None or elf.ehdr.type in (ET_EXEC, ET_DYN):
        return None
    if elf.ehdr.type == ET_REL:
        path = case.headers[-1].path
        if path.endswith(b".ko"):
            return f"{case.subject} is a module for a Linux kernel", ("it is loaded into a kernel: insmod",)
        help_ = f"link it: cc {case.spelled(path)} -o program"
        return f"{case.subject} is a relocatable object: compiled, but not linked", (help_,)
    if elf.ehdr.type == ET_CORE:
        return f"{case.subject} is a core dump: the memory of a program that crashed", (
            f"look into it: gdb -c {case.spelled(case.headers[-1].path)}",
        )
    return f"{case.subject} says that it is of {elf.type_name}: neither an executable nor a shared object", ("build it again",)


def _no_headers(case: Case) -> Answer | None:
    elf = _refused_elf(case)
    if elf is None or case.it.error != "ENOEXEC":
        return None
    size_ = _PHDR_SIZE[elf.bits]
    if elf.ehdr.phnum == 0:
        return f"{case.subject} has no program headers: nothing says what to load", ("link it as an executable",)
    if elf.ehdr.phentsize != size_:
        return f"a program header of {case.subject} has {elf.ehdr.phentsize} bytes instead of {size_}", (
            "the file is damaged: build it again",
        )
    if elf.ehdr.phnum * size_ > _MOST_PHDR_BYTES:
        return f"{case.subject} has {elf.ehdr.phnum} program headers: more than 64 KiB of them", (
            "the file is damaged: build it again",
        )
    return None


def _foreign(case: Case) -> Answer | None:
    elf = _refused_elf(case)
    if elf is None or not elf.brand:
        return None
    name = elf.brand.lower()
    if name in case.t.system.personalities:
        return None
    return f"{case.subject} is a program for {elf.brand}, whose personality is not here", (
        f"there are: {', '.join(case.t.system.personalities)}",
    )


def _bad_loader(case: Case) -> Answer | None:
    if case.it.error not in ("ELIBBAD", "EIO") or case.kind is None or case.kind.elf is None or case.it.step != "interpreter":
        return None
    name = case.kind.elf.interpreter or b""
    if case.it.error == "EIO":
        which = f"the loader that it names, {quoted(name)}, ends" if name else f"{case.subject} ends before its loader's name"
        return f"{which}{' within its header' if name else ''}", ("make or copy it again",)
    return (
        f"the loader that it names, {quoted(name)}, is itself no usable ELF file: {case.it.reason}",
        ("install the right one for this CPU and word size",),
    )


def _format_refused(case: Case) -> Answer | None:
    said = [e for e in case.it.events if isinstance(e, FormatSaid)]
    if not said:
        return None
    reason = case.it.reason or said[-1].reason
    if said[-1].verdict != "not mine":
        return f"the format {shown(said[-1].format.encode(), 20)} knows {case.subject}, and refuses it: {reason}", ()
    formats = ", ".join(shown(name.encode(), 20) for name in dict.fromkeys(e.format for e in said))
    return f"none of the formats ({formats}) takes {case.subject}: {reason}", ()


def impossible_image(case: Case) -> Answer:
    """Why an image cannot be laid out: for deaths past the point of no return."""
    kind = case.kind
    elf = kind.elf if kind is not None else None
    top = case.t.system.facts.user_top
    for number, phdr in enumerate(elf.loads if elf is not None else ()):
        what = f"segment {number} of {case.subject}" if case.subject != "it" else f"its segment {number}"
        if phdr.memsz > top or phdr.vaddr + phdr.memsz > top:
            return (
                f"{what} wants {size(phdr.memsz)} at {phdr.vaddr:#x}; user memory ends at {top:#x}",
                ("the file is damaged, or asks for more than an address space has: build it again",),
            )
        if phdr.filesz > phdr.memsz:
            return f"{what} has more bytes in the file ({phdr.filesz}) than in memory ({phdr.memsz})", (
                "the file is damaged: build it again",
            )
        if phdr.filesz and (phdr.offset - phdr.vaddr) % 4096:
            return (
                f"{what} begins at byte {phdr.offset:#x} and wants to stand at {phdr.vaddr:#x}: the two differ within a page",
                ("link it with page-aligned segments",),
            )
        if elf is not None and elf.ehdr.type == ET_EXEC and 0 <= phdr.vaddr < case.t.system.facts.min_addr:
            low = case.t.system.facts.min_addr
            return (
                f"{what} wants to stand at {phdr.vaddr:#x}; the lowest address that may be used is {low:#x}",
                ("link it higher, or lower the limit: sysctl vm.mmap_min_addr",),
            )
    if "ends beyond" in case.it.reason and elf is not None:
        return f"{case.subject} is cut off: a segment reaches beyond the end of the file", ("make or copy it again",)
    if "limit on address space" in case.it.reason:
        return "the image is larger than the limit on address space (RLIMIT_AS)", ("raise it: ulimit -v unlimited",)
    if "RLIMIT_DATA" in case.it.reason:
        return "the image has more data than RLIMIT_DATA allows", ("raise it: ulimit -d unlimited",)
    what = trouble(case.it.step)
    if case.subject != "it" and what.startswith("it "):
        what = case.subject + what[2:]
    loads = f" ({counted(len(elf.loads), 'segment')})" if elf is not None and what.endswith("in memory") else ""
    return f"{what}{loads}: {case.it.reason or meaning(case.it.error) or case.it.error}", ()


TABLE: Final[tuple[Row, ...]] = (
    Row("empty file", ("ENOEXEC",), _empty),
    Row("byte order mark", ("ENOEXEC",), _byte_order_mark),
    Row("bad first line", ("ENOEXEC",), _bad_script),
    Row("text without #!", ("ENOEXEC",), _text),
    Row("another kind of file", ("ENOEXEC", "EFTYPE"), _other_system),
    Row("bad loader", ("ELIBBAD", "EIO"), _bad_loader),
    Row("cut off", ("ENOEXEC", "EIO", "EFAULT"), _truncated),
    Row("another CPU", ("ENOEXEC",), _wrong_machine),
    Row("not linked", ("ENOEXEC",), _not_linked),
    Row("no program headers", ("ENOEXEC",), _no_headers),
    Row("another system", ("ENOEXEC",), _foreign),
    Row("data", ("ENOEXEC",), _data),
    Row("format refused", (), _format_refused),
)
