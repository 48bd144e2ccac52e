"""A host that does not play along: few descriptors, no ptrace, a process that forks or computes beside the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]


def host(program: str, *, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """Run Python on the host."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout, check=False)


def test_a_thread_that_computes_beside() -> None:
    done = host("""
import threading, time, ring3
stop = False
def compute():
    n = 0
    while not stop: n += 1
threading.Thread(target=compute).start()
try:
    with ring3.Kernel() as kernel:
        began = time.monotonic()
        for _ in range(5): assert kernel.run(["/bin/echo", "hi"], capture_output=True).stdout == b"hi\\n"
        assert time.monotonic() - began < 40
finally: stop = True
print("fine")
""")
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_process_that_forks_beside() -> None:
    """The child's copy of the kernel refuses, in words; its end harms nothing; the parent's goes on."""
    done = host("""
import os, ring3
kernel = ring3.Kernel()
kernel.run(["/bin/true"])
child = os.fork()
if child == 0:
    try: kernel.run(["/bin/true"])
    except RuntimeError as error: print(error, flush=True)
    with ring3.Kernel() as mine: assert mine.run(["/bin/true"]).returncode == 0
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert kernel.run(["/bin/true"]).returncode == 0
kernel.close()
print("fine")
""")
    assert done.stdout.endswith("\nfine\n"), done.stderr
    assert "forked" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("most", [8, 12, 16, 24, 32, 64, 128])
def test_few_descriptors(most: int) -> None:
    """Either it works or one OSError or MachineUnavailable says what is missing; no kernel falls."""
    done = host(f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))
import ring3
try:
    with ring3.Kernel() as kernel:
        for _ in range(3):
            line = "ls -l / | head -2 | wc -l; (exec cat </etc/passwd) | wc -c"
            print(kernel.run(["/bin/sh", "-c", line], capture_output=True).returncode)
except (OSError, ring3.MachineUnavailable) as error:
    print(type(error).__name__, error)
""")
    assert done.stderr == "", done.stderr
    assert done.stdout
    if most >= 64:
        assert done.stdout == "0\n0\n0\n"


NO_PTRACE = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def statement(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
program = (statement(0x20, 0, 0, 0) + statement(0x15, 0, 1, 101) + statement(0x06, 0, 0, 0x00050000 | 1)
           + statement(0x06, 0, 0, 0x7fff0000))
code = ctypes.create_string_buffer(program, len(program))
assert libc.prctl(38, 1, 0, 0, 0) == 0
fprog = struct.pack("HxxxxxxP", 4, ctypes.addressof(code))
assert libc.prctl(22, 2, fprog) == 0, ctypes.get_errno()
"""


def test_no_permission_to_trace_is_one_sentence() -> None:
    done = host(NO_PTRACE + """
import ring3
try: ring3.run(["/bin/true"])
except ring3.MachineUnavailable as error: print(error)
""")
    assert done.stderr == ""
    assert "ptrace" in done.stdout
    assert done.stdout.count("\\n") <= 2


def test_no_permission_to_trace_on_the_command_line() -> None:
    done = host(NO_PTRACE + """
import os, sys
os.execv(sys.executable, [sys.executable, "-m", "ring3", "run", "--", "/bin/true"])
""")
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr
    assert "ptrace" in done.stderr
    assert len(done.stderr.splitlines()) <= 3
