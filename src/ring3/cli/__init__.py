"""The `ring3` command: parse, call, print.  One module a sub-command, imported when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

FAILED = 125            # ring3 itself failed, as env(1), timeout(1) and others say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    from ring3.cli import run

    parser = argparse.ArgumentParser(prog="ring3", description="A kernel you can import: runs real programs inside a Python process.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run.add_parser(commands)
    options = parser.parse_args(argv)
    status: int = options.main(options)
    return status


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_unused: object) -> None:
        from ring3 import __version__

        sys.stdout.write(f"ring3 {__version__}\n")
        parser.exit()
