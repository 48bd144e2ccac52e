"""Scripts: `#!` lines (NetBSD: exec_script.c; Linux: fs/binfmt_script.c).

    #!/bin/sh -e          argv of the script: ["./s", "x"]
    becomes               argv of /bin/sh:    ["/bin/sh", "-e", "./s", "x"]

The script is named as the caller named it, or by a descriptor; its own argv[0] is lost.  How the line splits, what the
script is called, and whether a script may run a script, are rules of the caller's personality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.errors import ENOEXEC

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage


class ScriptFormat:
    """The format of scripts; of no personality: whoever calls decides how the line is read."""

    name = "script"
    header_size = 2
    personality = None

    def recognise(self, package: ExecPackage) -> bool:
        """True when the interpreter is to be run instead.  Raises ENOEXEC, ENOENT, E2BIG, and what opening the
        interpreter does.
        """
        if package.header[:2] != b"#!":
            raise ENOEXEC
        line = package.rules.split_script(package.header[: package.rules.header_size])
        package.at_step("script")
        package.rewrite(line.interpreter, package.rules.script_arguments(package, line))
        return True


SCRIPT = ScriptFormat()
