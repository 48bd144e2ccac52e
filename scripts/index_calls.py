"""Write the indexes of system calls: which module declares which (src/ring3/abi/*/calls*.tbl).  Run it after adding a call."""

from __future__ import annotations

from pathlib import Path

from ring3.personality.linux import tables as linux
from ring3.personality.netbsd import tables as netbsd
from ring3.personality.serenity import tables as serenity

TABLES = Path(__file__).parents[1] / "src" / "ring3" / "abi"
HEAD = "# Which module declares which call: derived by scripts/index_calls.py, do not edit.\n"


def main() -> None:
    """Write the tables of every system."""
    for system in (linux, netbsd, serenity):
        for arch, name in system.INDEX.items():
            rows = "".join(f"{call} {module}\n" for call, module in system.declared(arch).items())
            (TABLES / f"{name}.tbl").write_text(HEAD + rows, encoding="ascii")


if __name__ == "__main__":
    main()
