"""Our symbols and unwind tables beside pyelftools': the same wherever it finds any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE, CFARule, RegisterRule
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from ring3.trace.elfimage import ElfImage, Symbols
from ring3.trace.unwind import FrameTable, Row, Rule

FILES = ("/lib64/ld-linux-x86-64.so.2", "/bin/ls", "/usr/bin/bash")
KINDS = {RegisterRule.OFFSET: "offset", RegisterRule.VAL_OFFSET: "value", RegisterRule.REGISTER: "register",
         RegisterRule.EXPRESSION: "saved", RegisterRule.VAL_EXPRESSION: "computed", RegisterRule.UNDEFINED: "undefined"}


def present(path: str) -> Path:
    if not Path(path).exists():
        pytest.skip(f"no {path} here")
    return Path(path)


def image_of(path: Path) -> ElfImage:
    data = path.read_bytes()
    return ElfImage(lambda offset, nbytes: data[offset : offset + nbytes])


@pytest.mark.parametrize("path", FILES)
def test_the_same_functions(path: str) -> None:
    symbols, count = Symbols(image_of(present(path))), 0
    with open(path, "rb") as file:
        elf = ELFFile(file)
        names: dict[int, set[str]] = {}
        for section in (elf.get_section_by_name(".symtab"), elf.get_section_by_name(".dynsym")):
            for symbol in section.iter_symbols() if isinstance(section, SymbolTableSection) else ():
                if symbol["st_info"]["type"] in ("STT_FUNC", "STT_LOOS") and symbol["st_shndx"] != "SHN_UNDEF":
                    names.setdefault(symbol["st_value"], set()).add(symbol.name)
                    count += 1
    for start, known in names.items():
        ours = symbols.find(start)
        assert ours is not None
        assert ours.start == start
        assert ours.name in known
    assert count == len(symbols)


@pytest.mark.parametrize("path", FILES)
def test_the_same_rows(path: str) -> None:
    table, compared = FrameTable(image_of(present(path))), 0
    for start, pc, rules in their_rows(path):
        ours = table.row(pc)
        assert ours is not None, f"{start:#x}: {pc:#x}"
        assert plain(ours) == rules, f"{start:#x}: {pc:#x}"
        compared += 1
    assert compared > 100


def their_rows(path: str) -> Iterator[tuple[int, int, dict[object, object]]]:
    with open(path, "rb") as file:
        for entry in ELFFile(file).get_dwarf_info(relocate_dwarf_sections=False).EH_CFI_entries():
            if not isinstance(entry, FDE):
                continue
            start = entry["initial_location"]
            end = start + entry["address_range"]
            for line in entry.get_decoded().table:
                if start <= line["pc"] < end:
                    yield start, line["pc"], theirs(line)


def theirs(line: dict[object, object]) -> dict[object, object]:
    found: dict[object, object] = {}
    for key, rule in line.items():
        if isinstance(rule, CFARule):
            found["cfa"] = bytes(rule.expr) if rule.expr is not None else (rule.reg, rule.offset)
        elif isinstance(rule, RegisterRule) and rule.type != RegisterRule.SAME_VALUE:
            found[key] = (KINDS[rule.type], bytes(rule.arg) if isinstance(rule.arg, list) else rule.arg or 0)
    return found


def plain(row: Row) -> dict[object, object]:
    found: dict[object, object] = {"cfa": row.code or (row.register, row.offset)}
    for register, rule in row.rules.items():
        found[register] = value(rule)
    return found


def value(rule: Rule) -> tuple[str, object]:
    return rule.kind, rule.code or rule.value
