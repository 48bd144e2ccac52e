"""`ring3 run` as people use it: streams, statuses, signals, terminals, messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.face.terminal import Screen

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]


def ring3(command: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *words], capture_output=True, text=True, timeout=90, check=False, **options)  # type: ignore[call-overload,no-any-return]


def shell(ring3_command: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script of the host's bash, in which `ring3` is ours."""
    script = f'ring3() {{ {ring3_command} "$@"; }}\n{script}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=90, check=False)


# --- statuses and messages

@pytest.mark.parametrize(("words", "status"), [
    (["true"], 0), (["false"], 1), (["--", "sh", "-c", "exit 42"], 42), (["sh", "-c", "kill -9 $$"], 137),
    (["sh", "-c", "kill -SEGV $$"], 139), (["--timeout", "0.3", "sleep", "30"], 124), (["--timeout=30", "true"], 0),
    (["no-such-program"], 127), (["/no/such/program"], 127), (["/etc"], 126), (["/etc/passwd"], 126),
])
def test_status(ring3_command: str, words: list[str], status: int) -> None:
    assert ring3(ring3_command, "run", *words).returncode == status


@pytest.mark.parametrize(("words", "status", "says"), [
    (["run"], 125, "which program?"),
    (["run", "--"], 125, "which program?"),
    (["run", "--mout", "a:/b", "true"], 125, "did you mean --mount?"),
    (["run", "--root"], 125, "--root needs a value: --root DIR"),
    (["run", "--stats=1", "true"], 125, "--stats takes no value"),
    (["run", "--timeout", "soon", "true"], 125, "--timeout soon: write a number of seconds above 0"),
    (["run", "--timeout", "nan", "true"], 125, "--timeout nan: write a number"),
    (["run", "--timeout", "-1", "true"], 125, "--timeout -1: write a number"),
    (["run", "--seed", "x", "true"], 125, "--seed x: write a whole number"),
    (["run", "--env", "=x", "true"], 125, "--env =x: write NAME=VALUE"),
    (["run", "--mount", "/etc", "true"], 125, "--mount /etc: write HOST:GUEST"),
    (["run", "--mount", "/no/such:/mnt", "true"], 125, "/no/such: No such file or directory on the host"),
    (["run", "--mount", "/etc:/etc/passwd", "true"], 125, "/etc/passwd: a host directory cannot be mounted there"),
    (["run", "--root", "/no/such", "true"], 125, "/no/such: No such file or directory, so it cannot be the guest's root"),
    (["run", "--cwd", "/no/such", "true"], 125, "--cwd /no/such: No such file or directory in the guest"),
    (["run", "--cwd", "/etc/passwd", "true"], 125, "--cwd /etc/passwd: Not a directory in the guest"),
    (["run", "--strace=/no/such/file", "true"], 125, "/no/such/file: No such file or directory, so nothing can be written"),
    (["run", "nothing-here"], 127, "nothing-here: not found along PATH in the guest"),
    (["run", "/etc"], 126, "it is a directory"),
    (["run", "/etc/passwd"], 126, "chmod +x"),
    (["walk"], 125, "there is no command 'walk'"),
    (["walk", "a b"], 125, "to run it as a program: ring3 run -- walk 'a b'\n"),
    (["trce"], 125, "did you mean trace?"),
    (["-x"], 125, "options stand behind a command"),
    (["run", ""], 127, "an empty word names no program"),
    (["run", "--pledge", "magic", "true"], 125, "'magic' is no promise; there are: stdio rpath"),
    (["kdump", "/no/such/file"], 1, "ring3 trace --ktrace FILE -- PROGRAM makes one"),
])
def test_messages(ring3_command: str, words: list[str], status: int, says: str) -> None:
    done = ring3(ring3_command, *words)
    assert says in done.stderr
    assert done.stderr.startswith("ring3: ")
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize(("text", "status", "says"), [
    ("#!/no/such/interpreter\n", 127, "the interpreter it names is not: /no/such/interpreter"),
    ("echo no first line\n", 126, "neither an ELF program nor a script that begins with #!"),
    ("#!/etc/passwd\n", 126, "its interpreter /etc/passwd"),
])
def test_messages_about_scripts(ring3_command: str, tmp_path: Path, text: str, status: int, says: str) -> None:
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(0o755)
    done = ring3(ring3_command, "run", "./script", cwd=tmp_path)
    assert says in done.stderr
    assert done.returncode == status


def test_a_missing_loader_is_named(ring3_command: str, tmp_path: Path) -> None:
    program = bytearray(Path("/bin/true").read_bytes())
    at = program.index(b"/lib64/ld-linux-x86-64.so.2\0")
    program[at : at + 9] = b"/nowhere/"
    (tmp_path / "tool").write_bytes(program)
    (tmp_path / "tool").chmod(0o755)
    done = ring3(ring3_command, "run", str(tmp_path / "tool"))
    assert done.returncode == 127
    assert "the dynamic loader it was built for is not: /nowhere/" in done.stderr


def test_help_and_version(ring3_command: str) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        done = ring3(ring3_command, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "ring3 run PROGRAM [ARG]..." in done.stdout
    done = ring3(ring3_command, "run", "--help")
    for option in ("--env", "--cwd", "--mount", "--root", "--seed", "--timeout", "--stats", "--strace"):
        assert option in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 132
    assert ring3(ring3_command, "--version").stdout.startswith("ring3 ")


# --- options

def test_words_behind_the_program_are_its_own(ring3_command: str) -> None:
    for words in (["echo", "-n", "--", "--env"], ["--", "echo", "-n", "--", "--env"]):
        assert ring3(ring3_command, "run", *words).stdout == "-- --env"
    assert ring3(ring3_command, "run", "--env", "A=1", "--env", "HOME", "--env", "B=x=y", "env").stdout.count("HOME=") == 0
    assert ring3(ring3_command, "run", "--env=A=b", "--", "sh", "-c", "echo $A").stdout == "b\n"
    assert ring3(ring3_command, "run", "--cwd", "/usr/lib", "pwd").stdout == "/usr/lib\n"
    done = ring3(ring3_command, "run", "--seed", "1", "sh", "-c", "od -An -tx8 -N8 /dev/urandom")
    assert done.stdout == ring3(ring3_command, "run", "--seed=1", "sh", "-c", "od -An -tx8 -N8 /dev/urandom").stdout


def test_strace_and_stats(ring3_command: str, tmp_path: Path) -> None:
    done = ring3(ring3_command, "run", "--strace", "--stats", "true")
    assert done.stdout == ""
    assert 'execve("' in done.stderr
    assert "+++ exited with 0 +++\nring3: " in done.stderr
    trace = tmp_path / "trace"
    done = ring3(ring3_command, "run", f"--strace={trace}", "echo", "hi")
    assert (done.stdout, done.stderr) == ("hi\n", "")
    assert 'write(1, "hi\\n", 3)' in trace.read_text()


def test_nothing_written_reaches_the_host(ring3_command: str, tmp_path: Path) -> None:
    done = ring3(ring3_command, "run", "sh", "-c", "echo mine > note; rm -f keep; cat note; ls", cwd=tmp_path)
    assert done.stdout == "mine\nnote\n"
    assert list(tmp_path.iterdir()) == []
    done = ring3(ring3_command, "run", "--mount", f"{tmp_path}:/tmp/out:rw", "sh", "-c", "echo mine > /tmp/out/note")
    assert (tmp_path / "note").read_text() == "mine\n"


# --- streams

@pytest.mark.parametrize("script", [
    "R true",
    "R cat </dev/null",
    "echo in | R cat",
    "R cat < /etc/hostname",
    "R sh -c 'echo out; echo err >&2'",
    "R sh -c 'echo both; echo err >&2' 2>&1",
    "R sh -c 'read x; echo \"read $?\"' <&-",
    "R sh -c 'echo x; echo \"wrote $?\" >&2' >&-",
    "R sh -c 'echo x >&2; echo \"wrote $?\"' 2>&-",
    "R sh -c 'test -e /proc/self/fd/0; echo $?' <&-",
    "R sh -c 'echo lost' >/dev/full; echo $?",
    "printf 'a\\nb\\nc\\n' | { R head -1 >/dev/null; echo $?; }",
    "{ R sh -c 'read x; echo $x'; cat; } < <(printf 'one\\ntwo\\n')",
    "f=$(mktemp); R sh -c 'echo 1; echo 2' > $f; R sh -c 'echo 3' >> $f; cat $f; rm $f",
    "R yes | head -2; echo ${PIPESTATUS[0]}",
    "R sh -c 'exec >&-; echo x 2>/dev/null; exit 3'; echo $?",
    "R seq 100000 | tail -1",
])
def test_streams_as_natively(ring3_command: str, script: str) -> None:
    ours, theirs = shell(ring3_command, script.replace("R ", "ring3 run -- ")), shell(ring3_command, script.replace("R ", ""))
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)
    assert ours.stderr.replace("line 2", "line") == theirs.stderr.replace("line 2", "line")


def test_a_broken_pipe_ends_quickly_and_quietly(ring3_command: str) -> None:
    started = time.monotonic()
    done = shell(ring3_command, "ring3 run -- yes | head -1; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("y\n141\n", "")
    assert time.monotonic() - started < 10
    done = shell(ring3_command, "ring3 run --strace -- ls / 2>&1 >/dev/null | head -1 | wc -l; echo ${PIPESTATUS[0]}")
    assert done.stdout == "1\n0\n"


# --- signals without a terminal

@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGRTMIN"])
def test_signals_go_to_the_program(ring3_command: str, name: str) -> None:
    signo = signal.Signals[name]
    for trap, status in (("", 128 + signo), (f"trap 'exit 9' {int(signo)};", 9)):
        script = f"{trap} echo ready; while :; do sleep 0.02; done"
        command = [ring3_command, "run", "sh", "-c", script]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signo)
        assert process.communicate(timeout=90)[1] == ""
        assert process.returncode == status


def test_nothing_survives_a_kill(ring3_command: str) -> None:
    mark = "sleep 4711.0815"
    process = subprocess.Popen([ring3_command, "run", "sh", "-c", f"{mark} & echo ready; wait"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    children = Path(f"/proc/{process.pid}/task")
    stubs = {int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()}
    assert stubs
    process.kill()
    process.communicate(timeout=90)
    deadline = time.monotonic() + 60
    while alive := [pid for pid in stubs if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ignored_signals_stay_ignored(ring3_command: str) -> None:
    done = shell(ring3_command, "trap '' INT HUP; ring3 run -- sh -c 'kill -INT $$; kill -HUP $$; echo alive'")
    assert done.stdout == "alive\n"


# --- at a terminal

def test_terminal(ring3_command: str) -> None:
    script = "test $(tty) = $NAME && stty size; read x; stty size; echo got $x >$(tty)"
    with Screen(["sh", "-c", f"NAME=$(tty) exec {ring3_command} run -- sh -c '{script}'"], (31, 101)) as screen:
        screen.expect("31 101\n")
        screen.resize((40, 90))
        screen.type("word\n")
        screen.expect("40 90\ngot word\n")
        assert screen.status() == 0


def test_window_size_changes_reach_the_program(ring3_command: str) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    with Screen([ring3_command, "run", "--", "bash", "-c", script]) as screen:
        screen.expect("ready\n")
        screen.resize((33, 77))
        screen.expect("33 77\n")
        assert screen.status() == 0


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x1c", 131)])
def test_keys_that_end(ring3_command: str, key: str, status: int) -> None:
    with Screen([ring3_command, "run", "--", "sh", "-c", "sleep 60 | sleep 61 & echo ready; wait; sleep 62"]) as screen:
        screen.expect("ready\n")
        screen.type(key)
        assert screen.status() == status
        assert "Traceback" not in screen.seen


def test_ctrl_c_can_be_caught(ring3_command: str) -> None:
    with Screen([ring3_command, "run", "--", "sh", "-c", "trap 'echo caught; exit 6' INT; echo ready; sleep 60"]) as screen:
        screen.expect("ready\n")
        screen.settle()
        screen.type("\x03")
        screen.expect("caught\n")
        assert screen.status() == 6


def test_ctrl_c_while_starting_shows_no_traceback(ring3_command: str) -> None:
    for delay in (0.0, 0.02, 0.04, 0.06):
        with Screen([ring3_command, "run", "--", "sleep", "60"]) as screen:
            time.sleep(delay)
            screen.type("\x03")
            time.sleep(0.5)
            screen.type("\x03")
            screen.status()
            assert "in entry" not in screen.seen, screen.seen       # Python's own start, before ours, may be interrupted loudly


def test_ctrl_z_and_fg(ring3_command: str) -> None:
    with Screen(["bash", "--norc", "--noprofile", "-i"], PS1="host> ") as screen:
        screen.expect("host> ")
        screen.type(f"{ring3_command} run -- cat\n")
        screen.expect("run -- cat\n")
        screen.settle()
        screen.type("hello\n")
        screen.expect("hello\nhello\n")
        screen.type("\x1a")
        screen.expect("Stopped")
        screen.type("echo status=$?\n")
        screen.expect("status=148\n")
        screen.type("fg\n")
        screen.expect("run -- cat\n")
        screen.settle()
        screen.type("again\n")
        screen.expect("again\nagain\n")
        screen.type("\x1a")
        screen.expect("Stopped")
        screen.type("kill %1; fg; echo status=$?\n")
        screen.expect("status=143\n")
        screen.type("exit\n")
        screen.status()


def test_job_control_inside(ring3_command: str) -> None:
    with Screen([ring3_command, "run", "--", "bash", "--norc", "--noprofile", "-i"], PS1="guest> ") as screen:
        screen.expect("guest> ")
        screen.type("sleep 60 &\n")
        screen.expect(r"\[1\] \d+\n")
        screen.type("fg\n")
        screen.expect("sleep 60\n")
        screen.settle()
        screen.type("\x1a")
        screen.expect(r"\[1\]\+ +Stopped")
        screen.settle()
        screen.type("bg; kill %1; wait; echo wa''ited\n")
        screen.expect("[\r\n]waited\n")
        screen.type("sleep 60\n")
        screen.settle()
        screen.type("\x03")
        screen.expect("guest> ")
        screen.type("echo st=$?\n")
        screen.expect("[\r\n]st=130\n")
        screen.type("echo abx\x7fc\x1b[D\x1b[DZ\n")        # backspace, two steps left: line editing in raw mode
        screen.expect("[\r\n]aZbc\n")
        screen.type("exit 5\n")
        assert screen.status() == 5


def test_a_killed_program_leaves_the_terminal_as_it_was(ring3_command: str) -> None:
    with Screen(["sh", "-c", f"stty -a > /dev/null; {ring3_command} run -- sh -c 'stty raw -echo; kill -9 $$'; stty -a"]) as screen:
        screen.expect("[^-]icanon")
        screen.expect("[^-]echo ")
        assert screen.status() == 0


def test_python_at_the_prompt(ring3_command: str) -> None:
    with Screen([ring3_command, "run", "--", "python3", "-q"]) as screen:
        screen.expect(">>> ")
        screen.type("6*7\n")
        screen.expect("42")
        screen.type("import time; time.sleep(60)\n")
        screen.settle()
        screen.type("\x03")
        screen.expect("KeyboardInterrupt\n>>> ")
        screen.settle()
        screen.type("exit()\n")
        assert screen.status() == 0


def test_the_terminal_behind_a_pipe(ring3_command: str) -> None:
    script = f"echo piped | {ring3_command} run -- sh -c 'cat; read x </dev/tty; echo got $x' | cat"
    with Screen(["sh", "-c", script]) as screen:
        screen.expect("piped\n")
        screen.type("typed\n")
        screen.expect("got typed\n")
        assert screen.status() == 0


@pytest.mark.parametrize("words", [
    [], ["--version"], ["run", "--help"], ["explain", "--help"], ["fingerprint", "/bin/true"], ["fingerprint", "--help"],
    ["kdump", "--help"],
])
@pytest.mark.parametrize(("redirection", "why"), [("> /dev/full", "No space left on device"), (">&-", "it is closed")])
def test_output_that_cannot_be_written_is_a_line(ring3_command: str, words: list[str], redirection: str, why: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", ring3_command, *words], stderr=subprocess.PIPE, text=True, timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (125, f"ring3: standard output: {why}\n")


def test_explain_to_a_full_disk(ring3_command: str) -> None:
    done = shell(ring3_command, "ring3 explain /bin/true > /dev/full; echo $?")
    assert (done.stdout, done.stderr) == ("125\n", "ring3: standard output: No space left on device\n")


@pytest.mark.parametrize("words", [["help", "run"], ["run", "--help"]])
def test_help_of_a_command(ring3_command: str, words: list[str]) -> None:
    done = ring3(ring3_command, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ring3 run [OPTION]...")


@pytest.mark.parametrize("words", [["kdump", "--help"], ["explain", "/bin/true"]])
def test_a_terminal_without_utf8_gets_what_it_can_show(ring3_command: str, words: list[str]) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([ring3_command, *words], env=env, capture_output=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert b"\\u" not in done.stdout


@pytest.mark.needs_ptrace
def test_the_guest_gets_no_variable_that_python_set_for_itself(ring3_command: str) -> None:
    done = subprocess.run([ring3_command, "run", "--", "/usr/bin/env"], env={}, capture_output=True, timeout=90, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
    given = {"LC_CTYPE": "C.UTF-8"}
    done = subprocess.run([ring3_command, "run", "--", "/usr/bin/env"], env=given, capture_output=True, timeout=90, check=False)
    assert (done.returncode, done.stdout) == (0, b"LC_CTYPE=C.UTF-8\n")


@pytest.mark.needs_ptrace
def test_a_failing_run_tells_which_calls_are_missing(ring3_command: str) -> None:
    script = "import ctypes; ctypes.CDLL(None).syscall(425, 1, 0); raise SystemExit({})"
    said = "ring3: 1 call is not implemented and answered ENOSYS: io_uring_setup (1 time)\n"
    assert ring3(ring3_command, "run", "--", "python3", "-c", script.format(3)).stderr == said
    assert ring3(ring3_command, "run", "--", "python3", "-c", script.format(0)).stderr == ""


@pytest.mark.parametrize(("words", "says"), [
    (["run", "--mount", ".:/x", "true"], "ring3: the directory we are in is gone; go to another one, or write whole paths\n"),
    (["fingerprint", "x"], "ring3: x: the directory we are in is gone; go to another one, or write whole paths\n"),
])
def test_in_a_directory_that_is_gone(ring3_command: str, words: list[str], says: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    command = ["sh", "-c", script, "sh", ring3_command, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.stderr == says
    assert done.returncode in (1, 125)


@pytest.mark.parametrize(("go", "says"), [
    ("mkdir gone; cd gone; rmdir ../gone", "the directory we are in is gone, so the program starts in /; --cwd DIR"),
    ("n=$(printf 'd%.0s' $(seq 200)); for i in $(seq 22); do mkdir $n; cd $n; done", "4095 are allowed, so the program starts"),
])
def test_started_where_no_guest_can_be(ring3_command: str, go: str, says: str, tmp_path: Path) -> None:
    done = shell(ring3_command, f"cd {tmp_path}; {go}; ring3 run -- pwd; ring3 run --cwd /usr -- pwd")
    assert done.stdout == "/\n/usr\n"
    assert says in done.stderr
    assert done.stderr.count("ring3: ") == 1


@pytest.mark.needs_ptrace
def test_diff_says_what_was_written(ring3_command: str) -> None:
    script = "echo x > /tmp/ring3-new; rm /etc/hostname; exit 3"
    done = ring3(ring3_command, "run", "--diff", "--user", "0", "--", "sh", "-c", script)
    assert done.returncode == 3
    assert done.stderr == (
        "ring3: 2 changes, none of them on your disk:\n       deleted   /etc/hostname\n       added     /tmp/ring3-new\n"
    )
    assert ring3(ring3_command, "run", "--diff", "--", "true").stderr == "ring3: it wrote no files\n"
    hostile = ring3(ring3_command, "run", "--diff", "--", "sh", "-c", "echo > \"/tmp/$(printf 'a\\033[31m')\"").stderr
    assert "/tmp/a\\x1b[31m" in hostile


def test_an_inherited_null_device_is_read_from_anywhere(ring3_command: str) -> None:
    program = "import os; print(os.pread(0, 5, 1), os.lseek(0, 5, 0))"
    done = subprocess.run([ring3_command, "run", "--", sys.executable, "-S", "-c", program], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=90, check=False)
    assert (done.stdout, done.stderr) == ("b'' 0\n", "")


def test_who_runs_on_makes_a_stopped_program_go_on(ring3_command: str) -> None:
    program = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; echo on"
    done = subprocess.run([ring3_command, "run", "--timeout", "60", "--", "sh", "-c", program], capture_output=True, text=True,
                          timeout=90, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_a_program_that_is_stopped_beside_others_runs_out_of_time(ring3_command: str) -> None:
    program = "sleep 60 & kill -STOP $$; echo on"
    process = subprocess.Popen([ring3_command, "run", "--timeout", "1", "--", "sh", "-c", program], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        assert b"killed after 1 s" in process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 124
