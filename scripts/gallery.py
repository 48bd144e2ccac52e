"""Make the pictures of docs/gallery.md and README.md again, with the tool itself.

    python scripts/gallery.py [WORD]      only those whose name holds WORD

Pages are photographed in Chromium; what stands in a terminal is run at a pseudo-terminal and drawn as SVG.  Everything runs in a
directory that the guest sees as /home/user, with a small environment, so that nothing of the machine shows but its programs.
Needs chromium, chromium-driver, gcc, make.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.driver import Browser  # noqa: E402 - the tests' own browser

PICTURES = ROOT / "docs" / "pictures"
RING3 = str(Path(sys.executable).parent / "ring3")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/home/user", "LANG": "C.UTF-8", "USER": "user", "TERM": "xterm"}
SOURCES = {
    "Makefile": "hello: main.o words.o\n\tgcc -o $@ $^\n\t./hello\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n",
    "main.c": "#include <stdio.h>\nextern const char *word;\nint main(void) { puts(word); return 0; }\n",
    "words.c": 'const char *word = "hello from ring3";\n',
}

# --- terminals as SVG
LINE, CHARACTER, SIZE = 17, 7.83, 13
# SGR code -> colour on a dark ground.
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#f0bf5a", "34": "#79c0ff", "35": "#d2a8ff", "36": "#5cc8d0", "2": "#8b949e"}


def spans(line: str) -> Iterator[tuple[str, str]]:
    """(style, text) of one line with SGR codes."""
    style: set[str] = set()
    for part in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        if not part.startswith("\x1b"):
            if part:
                yield attributes(style), part
        elif part.endswith("m"):
            codes = part[2:-1].split(";")
            style = set() if codes in ([""], ["0"]) else style | set(codes)


def attributes(style: set[str]) -> str:
    """An SVG text's attributes for SGR codes."""
    colour = next((COLOURS[code] for code in sorted(style, reverse=True) if code in COLOURS), "#e6edf3")
    return f'fill="{colour}"' + (' font-weight="700"' if style & {"1", "7"} else "")


def drawn(text: str, command: str, columns: int) -> str:
    """A terminal's text as an SVG picture, under the command that printed it."""
    lines = [f"\x1b[2m$\x1b[0m \x1b[1m{command}\x1b[0m", *text.rstrip("\n").split("\n")]
    width, height = round(columns * CHARACTER + 32), len(lines) * LINE + 28
    rows = []
    for number, line in enumerate(lines):
        x, cells = 16.0, []
        for style, piece in spans(line):
            length = len(piece) * CHARACTER
            if piece.strip():
                cells.append(f'<tspan x="{x:.1f}" {style} textLength="{length:.1f}" xml:space="preserve">{escape(piece)}</tspan>')
            x += length
        rows.append(f'<text y="{20 + number * LINE}">{"".join(cells)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="{SIZE}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#0e1115"/>\n' + "\n".join(rows) + "\n</svg>\n"
    )


def ring3(directory: str, command: str, *words: str) -> list[str]:
    """The command line for a guest that lives in /home/user."""
    return [RING3, command, "--mount", f"{directory}:/home/user:cow", "--cwd", "/home/user", *words]


def at_terminal(command: list[str], columns: int, rows: int = 50) -> str:
    """What a command prints at a terminal of that size."""
    pid, fd = pty.fork()
    if not pid:
        try:
            os.execve(command[0], command, ENVIRONMENT)
        finally:
            os._exit(127)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("<4H", rows, columns, 0, 0))
    data = b""
    try:
        while piece := os.read(fd, 65536):
            data += piece
    except OSError:
        pass                    # the terminal's other end is gone
    os.waitpid(pid, 0)
    os.close(fd)
    return data.decode(errors="replace").replace("\r\n", "\n")


def explain_ok(directory: str) -> str:
    """A program that would run."""
    text = at_terminal(ring3(directory, "explain", "--seed", "1", "--", "/bin/true"), 104)
    return drawn(text, "ring3 explain -- /bin/true", 104)


def explain_fails(directory: str) -> str:
    """A script of which the kernel only says that it is not there."""
    Path(directory, "backup").write_bytes(b"#!/usr/bin/python3\r\nprint('saved')\r\n")
    Path(directory, "backup").chmod(0o755)
    return drawn(at_terminal(ring3(directory, "explain", "./backup"), 104), "ring3 explain ./backup", 104)


def compare(directory: str) -> str:
    """Two systems beside each other."""
    Path(directory, "demo").write_text("#!/bin/sh\necho hello\n")
    Path(directory, "demo").chmod(0o755)
    text = at_terminal(ring3(directory, "explain", "--as", "linux,netbsd", "./demo"), 104)
    return drawn(text, "ring3 explain --as linux,netbsd ./demo", 104)


def top(directory: str) -> str:
    """The fourth look of `ring3 top` at something busy."""
    script = "ls -R /usr/lib | sort | wc -l & python3 -c 'sum(range(10**9))' & sleep 9; kill $!; wait"
    text = at_terminal(ring3(directory, "top", "--timeout", "5", "--", "sh", "-c", script), 104, 17)
    frames = text.split("\x1b[H")
    return drawn(re.sub(r"\x1b\[[KJ]", "", frames[4]).partition("\x1b[?")[0], "ring3 top -- sh busy.sh", 104)


def strace(directory: str) -> str:
    """Calls as text."""
    text = at_terminal(ring3(directory, "run", "--strace", "--", "sh", "-c", "echo hello > note; cat note"), 104)
    lines = [line for line in text.split("\n") if line][-26:]
    return drawn("\n".join(line[:104] for line in lines), "ring3 run --strace -- sh -c 'echo hello > note; cat note'", 104)


TERMINALS = {"explain": explain_ok, "explain-fails": explain_fails, "compare": compare, "top": top, "strace": strace}


# --- pages as PNG
VIEWS = (
    ("report-light", "overview", (1280, 860), False), ("report-dark", "overview", (1280, 860), True),
    ("calls", "calls", (1280, 700), False), ("programs", "programs", (1280, 860), True), ("phone", "overview", (390, 844), False),
)
CHOOSE = {
    "calls": """const box = document.getElementById('search');
                box.value = 'words';
                box.dispatchEvent(new Event('input'));
                document.querySelectorAll('.calls .list-row')[3].click()""",
    "programs": "[...document.querySelectorAll('.execs .list-row')].find((row) => row.textContent.includes('cc1')).click()",
}


def report(directory: str) -> str:
    """A report of a small build, by `ring3 trace`."""
    for name, text in SOURCES.items():
        Path(directory, name).write_text(text)
    page = f"{directory}/build.html"
    command = ring3(directory, "trace", "--html", page, "--", "make", "-j2")
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return Path(page).as_uri()


def photograph(url: str, name: str, view: str, size: tuple[int, int], *, is_dark: bool) -> None:
    """One view of the report."""
    with Browser(*size, is_dark=is_dark, is_phone=size[0] < 500) as browser:
        browser.open(f"{url}#{view}")
        browser.wait_for("document.documentElement.dataset.ready")
        browser.run(f"{CHOOSE.get(view, '')}; return new Promise((done) => setTimeout(done, 400))")
        browser.picture(str(PICTURES / f"{name}.png"))


def main(word: str) -> None:
    """Make those whose name holds `word`."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        for name, make in TERMINALS.items():
            if word in name:
                directory = Path(scratch, name)
                directory.mkdir()
                (PICTURES / f"{name}.svg").write_text(make(str(directory)), encoding="utf-8")
        wanted = [view for view in VIEWS if word in view[0]]
        if wanted:
            directory = Path(scratch, "build")
            directory.mkdir()
            url = report(str(directory))
            for name, view, size, is_dark in wanted:
                photograph(url, name, view, size, is_dark=is_dark)
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.stat().st_size / 1024:7.1f} KiB  {path.name}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
