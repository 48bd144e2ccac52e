"""The command lines people use, as data: what to run, what it needs, and the files it starts from.

Every output must be the same on every run: no process ids, times or temporary names.  `needs` are programs looked for on the PATH.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One command line; `script` runs by `sh -c`, in a scratch directory holding `FILES`."""

    name: str
    script: str
    needs: tuple[str, ...] = ()
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    stdin: bytes = b""
    timeout: float = 200


# What every scratch directory holds at the start.
FILES = {
    "words.txt": "".join(f"{word}\n" for word in ("pear", "apple", "fig", "apple", "quince", "date", "fig", "apple")),
    "numbers.txt": "".join(f"{n} {n * n} {'even' if n % 2 == 0 else 'odd'}\n" for n in range(1, 201)),
    "data.json": '{"name": "ring3", "floors": [{"n": 1, "is": "abi"}, {"n": 2, "is": "machine"}], "deep": {"a": null}}\n',
    "tree/a/one.c": "int one(void) { return 1; }\n",
    "tree/a/two.h": "int one(void);\n",
    "tree/b/main.c": '#include <stdio.h>\n#include "../a/two.h"\nint main(void) { printf("one is %d\\n", one()); return 3; }\n',
    "tree/b/empty": "",
    "lorem.txt": "".join(f"line {n}: the quick brown fox jumps over the lazy dog {n % 7}\n" for n in range(3000)),
}


def rows(needs: tuple[str, ...], table: str, **more: object) -> Iterator[Program]:
    """A table of `name | script` lines."""
    for line in table.strip().splitlines():
        name, _, script = line.strip().partition(" | ")
        yield Program(name=name.strip(), script=script.strip(), needs=needs, **more)  # type: ignore[arg-type]


COREUTILS = """
    ls                  | ls -1 /usr/bin | head -20; ls -la tree/a | awk '{print $1, $2, $5, $NF}'
    ls-recursive        | ls -R tree
    cat-head-tail       | cat words.txt | head -3; tail -n 2 words.txt; tail -c 5 words.txt
    sort-uniq           | sort words.txt | uniq -c | sort -rn
    sort-numeric        | sort -k2,2nr numbers.txt | head -5
    wc-cut-tr           | wc numbers.txt; cut -d' ' -f3 numbers.txt | sort | uniq -c; tr a-z A-Z < words.txt
    cp-mv-rm            | cp -r tree copy && mv copy/a copy/z && rm -r copy/b && find copy | sort; rm none; echo $?
    cp-preserve         | touch -d '2001-02-03 04:05:06' words.txt && cp -p words.txt w && stat -c '%y %a %s' w
    ln-readlink         | ln -s words.txt l && ln words.txt h && readlink l && stat -c '%h %F' h l && cat l | wc -l
    mkdir-chmod         | mkdir -p a/b/c && chmod 750 a && stat -c '%a %n' a a/b; rmdir a; echo $?; rmdir -p a/b/c; ls -d a
    dd                  | dd if=/dev/zero of=z bs=4096 count=100 2>/dev/null; dd if=z of=y bs=1 skip=5 count=10 status=none; wc -c z y
    checksums           | md5sum words.txt; sha256sum lorem.txt | cut -c1-20; cksum numbers.txt; sha1sum < /dev/null
    seq-paste-join      | seq 1 5 | paste -sd+; seq 3 | join - numbers.txt; seq -w 8 11 | tac | nl
    tee-xargs           | seq 10 | tee t | xargs -n 3 echo; cat t | wc -l; seq 4 | xargs -P 2 -I{} true {}
    split-comm          | split -l 1000 lorem.txt part. && ls part.*; sort -u words.txt > a; echo fig | comm -12 a -
    env-printf          | env -i A=1 B=2 env; printf '%05d|%-5s|%x\\n' 42 ab 255; basename /x/y.c .c; dirname /x/y
    date-fixed          | date -u -d @86400 '+%Y-%m-%d %H:%M:%S'; date -u -d '2024-02-29 + 1 year' +%F
    test-expr           | test -d tree && expr 6 '*' 7; [ -x words.txt ]; echo $?; test words.txt -nt /nonexistent; echo $?
    timeout-sleep       | timeout 0.2 sleep 10; echo $?; timeout -s KILL 0.2 sleep 10; echo $?; sleep 0.05; echo slept
    od-base64           | head -c 20 words.txt | od -An -tx1; base64 words.txt | base64 -d | cmp - words.txt && echo same
    truncate-stat       | truncate -s 1M big && stat -c '%s' big && du --apparent-size -k big | cut -f1; shred -u -n1 big; ls big
    nproc-uname-id      | nproc; uname -s; id -u; whoami; pwd | sed 's/.*\\///'; tty; echo $?
    mktemp-install      | d=$(mktemp -d ./tmpXXXX) && install -m 700 words.txt $d/w && stat -c '%a' $d/w; rm -r $d; ls
    factor-shuf         | factor 1234567890 97; shuf -i 1-100 | sort -n | md5sum; numfmt --to=iec 123456789
"""

SHELL = """
    pipeline            | seq 1 1000 | grep 7 | sed 's/7/seven/' | tail -1 | wc -c
    here-document       | cat <<END; x=$(cat <<'RAW'\nignored\nRAW\n); echo done\nvalue $((6*7)) $HOME_NOT_SET\nEND
    trap-exit           | trap 'echo bye' EXIT; trap 'echo caught TERM' TERM; kill -TERM $$; echo after
    trap-in-subshell    | (trap 'echo sub' EXIT; exit 4); echo $?; trap 'echo INT' INT; kill -INT $$; echo on
    background-wait     | (sleep 0.1; exit 3) & p=$!; (exit 5) & wait $!; echo $?; wait $p; echo $?
    background-kill     | sleep 100 & p=$!; kill $p; { wait $p; } 2>/dev/null; echo $?
    redirections        | echo out > a; echo err >&2 2>b; { echo 1; echo 2 >&2; } >c 2>&1; cat a c; exec 3<a; read x <&3; echo $x
    exit-codes          | false; echo $?; (exit 300); echo $?; (sh -c 'kill -9 $$'; echo $?) 2>/dev/null; /nonexistent; echo $?; ./words.txt; echo $?
    loops-functions     | f() { local n=$1; [ $n -le 1 ] && echo 1 || echo $(( n * $(f $((n-1))) )); }; f 8; for i in a b; do echo $i; done
    subshell-depth      | echo $(echo $(echo $(echo $(echo deep)))); (((((echo a)))))
    case-and-globs      | for f in *; do case $f in *.txt) echo "text $f";; t*) echo "tree";; *) echo other;; esac; done; echo tree/*/*.c
    read-lines          | n=0; while read a b c; do n=$((n+b)); done < numbers.txt; echo $n; IFS=: read x y < /etc/passwd; echo $x
    fifo                | mkfifo p; (cat lorem.txt > p &) ; wc -l < p; rm p
    sigpipe             | yes | head -2; (yes; echo $? >&2) | head -1
    exec-replaces       | exec /bin/echo replaced; echo never
    umask-cd            | umask 027; mkdir d; cd d; touch f; stat -c '%a' . f; cd ..; cd nowhere; echo $?
    script-file         | printf '#!/bin/sh\\necho "$0 has $#: $*"\\n' > s; chmod +x s; ./s a 'b c'; printf 'echo plain\\n' > q; chmod +x q; ./q
    many-processes      | i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; echo $i
    parallel-writers    | for i in 1 2 3 4; do (for j in 1 2 3 4 5; do echo $i; done >> log) & done; wait; sort log | uniq -c
    arithmetic          | echo $((1+2*3)) $((7/2)) $((7%3)) $((1<<20)) $((0x1f)) $((-5/2)); x=5; echo $((x+=3)) $x
    parameter-expansion | x=path/to/file.tar.gz; echo ${x##*/} ${x%.*} ${x%%.*} ${#x} ${y:-default} ${x:+set}
    stdin               | cat; echo end
"""

BASH = """
    arrays              | a=(x y "z w"); a+=(v); echo ${#a[@]} "${a[2]}"; declare -A m=([k]=1 [j]=2); echo ${m[k]}${m[j]}; echo ${!a[@]}
    process-substitution| diff <(sort words.txt) <(sort -u words.txt); echo $?; cat <(echo a) <(echo b)
    coproc-pipefail     | set -o pipefail; false | true; echo $?; coproc { read l; echo "got $l"; }; echo hi >&${COPROC[1]}; read r <&${COPROC[0]}; echo $r
    job-control         | exec 2>/dev/null; set -m; sleep 0.2 & jobs -r | sed 's/ *$//'; fg >/dev/null; echo $?; sleep 5 & kill -STOP %1; sleep 0.1; jobs -s | wc -l; kill -9 %1; wait; echo over
    regex-and-strings   | [[ abc123 =~ ([a-z]+)([0-9]+) ]] && echo ${BASH_REMATCH[1]}-${BASH_REMATCH[2]}; s=hello; echo ${s^^} ${s:1:3} ${s//l/L}
    mapfile-printf      | mapfile -t l < words.txt; echo ${#l[@]} ${l[3]}; printf -v v '%q' 'a b'; echo $v; echo {1..5} {a..c}x
    traps-err-debug     | trap 'echo ERR $LINENO' ERR; false; set -E; f() { false; }; f; trap 'echo usr' USR1; kill -USR1 $$; echo $?
    here-string-fd      | cat <<< "here $((1+1))"; exec {fd}>out; echo x >&$fd; exec {fd}>&-; cat out; TIMEFORMAT=timed; time true
    wait-any            | (sleep 0.3; exit 7) & (sleep 0.05; exit 6) & wait -n; echo $?; wait -n; echo $?
"""

TEXT = """
    sed-scripts         | sed -n '2,4p' words.txt; sed 's/\\(.\\)p/\\1P/g;$d' words.txt; sed -i.bak 's/fig/FIG/' words.txt; ls words*; sed '/apple/{N;s/\\n/+/}' words.txt
    grep-options        | grep -c apple words.txt; grep -rn 'int one' tree | sort; grep -vE '^(a|f)' words.txt; grep -q nothing words.txt; echo $?
    grep-big            | grep -o 'dog [0-6]$' lorem.txt | sort | uniq -c
    find-tests          | find tree -type f | sort; find tree -name '*.c' -exec wc -c {} +; find . -empty; find tree -type d -print0 | tr '\\0' '|' | wc -c
    find-xargs          | find tree -name '*.[ch]' -print0 | sort -z | xargs -0 cat | wc; find . -newer words.txt -name none
    diff-patch          | sed 's/fig/plum/' words.txt > w2; diff -u --label a --label b words.txt w2; cmp words.txt w2; echo $?
"""

ARCHIVES = """
    tar                 | tar cf t.tar tree && tar tf t.tar | sort && mkdir x && tar xf t.tar -C x && diff -r tree x/tree && echo same
    tar-gz              | tar czf t.tgz tree lorem.txt && mkdir x && tar xzf t.tgz -C x && cmp lorem.txt x/lorem.txt && echo same
    tar-pipe            | tar c tree | (mkdir y; cd y; tar x); ls -R y
    gzip                | gzip -k lorem.txt && gzip -l lorem.txt.gz | tail -1 | awk '{print $2, $4}' && zcat lorem.txt.gz | cmp - lorem.txt && echo same
"""

PYTHON = {
    "hello": "print('hello', 6 * 7)",
    "modules": "import json, re, hashlib, zlib, sqlite3, ssl, decimal, ctypes; print(hashlib.sha256(b'x').hexdigest(), sqlite3.apilevel)",
    "threads": """
import threading, queue
q = queue.Queue()
def work(n):
    for i in range(100): q.put(n * i)
ts = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
print(q.qsize(), sum(q.get() for _ in range(800)))
e = threading.Event(); print(e.wait(0.05))
""",
    "thread-pool": """
from concurrent.futures import ThreadPoolExecutor
import hashlib
with ThreadPoolExecutor(4) as pool:
    print(sum(x[0] for x in pool.map(lambda n: hashlib.md5(bytes(n)).digest(), range(200))))
""",
    "subprocess": """
import subprocess as s, sys
print(s.run(['echo', 'child'], capture_output=True, text=True))
print(s.run('exit 3', shell=True).returncode, s.run(['sh', '-c', 'kill -9 $$']).returncode)
p = s.Popen(['cat'], stdin=s.PIPE, stdout=s.PIPE); print(p.communicate(b'x' * 200000)[0] == b'x' * 200000)
try: s.run(['sleep', '9'], timeout=0.2)
except s.TimeoutExpired as e: print('timeout', e.cmd)
try: s.run(['/none/such'])
except FileNotFoundError as e: print(e)
print(s.check_output([sys.executable, '-c', 'print(5)'], cwd='/').decode())
""",
    "multiprocessing": """
import multiprocessing as m, os
def f(x): return x * x
if __name__ == '__main__':
    for how in ('fork', 'spawn'):
        c = m.get_context(how)
        if how == 'spawn': continue
        with c.Pool(3) as p: print(how, p.map(f, range(20)))
        q = c.Queue(); w = c.Process(target=q.put, args=([1, 'two'],)); w.start(); print(q.get(), w.join(), w.exitcode)
        v = c.Value('i', 0); l = c.Lock()
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=100); s.buf[:3] = b'abc'; print(bytes(s.buf[:3])); s.close(); s.unlink()
""",
    "process-pool": """
from concurrent.futures import ProcessPoolExecutor
if __name__ == '__main__':
    with ProcessPoolExecutor(2) as pool: print(list(pool.map(pow, range(10), [2] * 10)))
""",
    "asyncio": """
import asyncio
async def tick(n):
    await asyncio.sleep(0.01 * n); return n
async def main():
    print(await asyncio.gather(*(tick(n) for n in (3, 1, 2))))
    p = await asyncio.create_subprocess_exec('sh', '-c', 'cat; exit 4', stdin=-1, stdout=-1)
    print(await p.communicate(b'through asyncio'), p.returncode)
    try: await asyncio.wait_for(asyncio.sleep(5), 0.05)
    except TimeoutError: print('timeout')
asyncio.run(main())
""",
    "sockets": """
import socket, threading, selectors
a, b = socket.socketpair(); a.sendall(b'hi'); print(b.recv(5))
s = socket.socket(socket.AF_UNIX); s.bind('sock'); s.listen()
def serve():
    c, _ = s.accept(); c.sendall(c.recv(100).upper()); c.close()
threading.Thread(target=serve).start()
c = socket.socket(socket.AF_UNIX); c.connect('sock'); c.sendall(b'shout'); print(c.recv(100))
""",
    "network": """
import socket, socketserver, threading, http.server, urllib.request, selectors
for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    server = socket.create_server((host, 0), family=family)
    client = socket.create_connection(server.getsockname()[:2])
    end, address = server.accept()
    print(address[0], client.getpeername() == server.getsockname(), address == client.getsockname())
    threading.Thread(target=lambda: (client.sendall(bytes(3_000_000)), client.shutdown(socket.SHUT_WR))).start()
    print(sum(len(piece) for piece in iter(lambda: end.recv(70000), b'')))
port = ':%04X' % server.getsockname()[1]
print(sorted(line.split()[3] for line in open('/proc/net/tcp6') if port in line.split()[1]))
web = http.server.ThreadingHTTPServer(('localhost', 0), http.server.SimpleHTTPRequestHandler)
web.RequestHandlerClass.log_message = lambda *a: None
threading.Thread(target=web.serve_forever).start()
print(len(urllib.request.urlopen(f'http://localhost:{web.server_port}/words.txt').read()), web.shutdown())
for where in (('127.0.0.1', 1), ('192.0.2.77', 9)):
    try: socket.create_connection(where, 0.5)
    except ConnectionRefusedError as e: print(e)
    except OSError: print('no way there')
a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)); b.bind(('127.0.0.1', 0))
a.sendto(b'datagram', b.getsockname()); print(b.recvfrom(100)[0], socket.if_nameindex()[0])
print(sorted({x[4][0] for x in socket.getaddrinfo('127.0.0.1', 80)}), socket.gethostbyname('localhost'))
""",
    "managers": """
import asyncio, multiprocessing as m
async def shout(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
async def main():
    server = await asyncio.start_server(shout, '127.0.0.1', 0); where = server.sockets[0].getsockname()
    async def ask(n): r, w = await asyncio.open_connection(*where); w.write(b'line %d\\n' % n); x = await r.readline(); w.close(); return x
    print(await asyncio.gather(*(ask(n) for n in range(20))))
if __name__ == '__main__':
    asyncio.run(main())
    with m.Manager() as manager:
        things = manager.list([1]); p = m.Process(target=things.append, args=(2,)); p.start(); p.join(); print(list(things), p.exitcode)
""",
    "signals": """
import signal, os, time
signal.signal(signal.SIGALRM, lambda n, f: print('alarm', n)); signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()
signal.signal(signal.SIGUSR1, lambda n, f: print('usr1')); os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigtimedwait([signal.SIGUSR2], 0.05))
""",
    "files": """
import os, pathlib, tempfile, shutil, mmap
d = pathlib.Path('made'); d.mkdir(); (d / 'x').write_text('text'); os.link(d / 'x', d / 'y'); print(sorted(os.listdir(d)), (d / 'y').stat().st_nlink)
with open(d / 'x', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m: m[0:1] = b'T'
print((d / 'x').read_text(), [e.name for e in os.scandir(d) if e.is_file()].__len__())
shutil.copytree('tree', 'copied'); print(sum(len(f) for _, _, f in os.walk('copied'))); shutil.rmtree('copied')
with tempfile.TemporaryFile() as t: t.write(b'1' * 10**6); t.seek(10); print(len(t.read()))
""",
    "memory": "x = [bytearray(10**6) for _ in range(50)]; y = {n: str(n) for n in range(200000)}; del x; print(len(y), sum(map(len, y.values())))",
    "exceptions": "import sys; print('err', file=sys.stderr); sys.exit('message')",
    "abort": "import os; os.abort()",
    "sqlite": """
import sqlite3
c = sqlite3.connect('db'); c.execute('create table t(a, b)'); c.executemany('insert into t values(?, ?)', ((n, n * n) for n in range(1000))); c.commit()
print(c.execute('select count(*), sum(b) from t where a % 3 = 0').fetchall()); c.close(); print(sqlite3.connect('db').execute('pragma integrity_check').fetchall())
""",
    "fork": """
import os
r, w = os.pipe()
if os.fork() == 0: os.write(w, b'from child'); os._exit(7)
print(os.read(r, 100), os.waitstatus_to_exitcode(os.wait()[1]))
""",
    "pty": """
import pty, os
def read(fd):
    return os.read(fd, 1000)
pid, fd = pty.fork()
if pid == 0: os.execvp('sh', ['sh', '-c', 'tty >/dev/null && echo on a tty; stty size; exit 3'])
out = b''
try:
    while chunk := os.read(fd, 1000): out += chunk
except OSError: pass
print(out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
}

TOOLS = (
    *rows(("perl",), """
        perl-hello          | perl -e 'print join(",", map { $_ * 2 } 1..5), "\\n"'
        perl-regex          | perl -ne '$h{$1}++ while /(\\w+)/g; END { print "$_ $h{$_}\\n" for sort keys %h }' words.txt lorem.txt | tail -5
        perl-fork-pipe      | perl -e 'pipe(R,W); if (!fork) { close R; print W "kid\\n"; exit 2 } close W; print <R>; wait; print $? >> 8, "\\n"'
        perl-signals        | perl -e '$SIG{ALRM} = sub { print "alarm\\n" }; alarm 1; sleep 5; local $| = 1; print qx(echo sub); system("exit 3"); print $? >> 8, "\\n"'
    """),
    *rows(("mawk",), """
        mawk                | mawk '{ s += $2; c[$3]++ } END { print s, c["odd"], c["even"] }' numbers.txt; mawk 'BEGIN { while (("echo x; echo y" | getline l) > 0) print l }'
    """),
    *rows(("gawk",), """
        gawk                | gawk '{ a[NR] = $2 } END { n = asort(a); print n, a[1], a[n]; print strftime("%F", 0, 1), toupper("x") }' numbers.txt
    """),
    *rows(("xz",), """
        xz-threads          | xz -T2 -k lorem.txt && xz -t lorem.txt.xz && xz -dc lorem.txt.xz | cmp - lorem.txt && echo same
        xz-blocks           | xz -T2 --block-size=20000 -c lorem.txt | xz -T2 -dc | md5sum
    """),
    *rows(("zstd",), """
        zstd                | zstd -q lorem.txt && zstd -q -T2 -19 -c numbers.txt | zstd -dc | cmp - numbers.txt && zstd -dcq lorem.txt.zst | md5sum
    """),
    *rows(("bzip2",), """
        bzip2               | bzip2 -k lorem.txt && bzip2 -tv lorem.txt.bz2 2>&1 | tail -1; bunzip2 -c lorem.txt.bz2 | md5sum
    """),
    *rows(("sqlite3",), """
        sqlite3             | sqlite3 db 'create table t(a,b); insert into t values(1,"x"),(2,"y"); select sum(a), group_concat(b) from t;'; sqlite3 db .dump
        sqlite3-wal         | sqlite3 db 'pragma journal_mode=wal; create table t(a); insert into t select value from generate_series(1,5000);' ; sqlite3 db 'select count(*), max(a) from t'
    """),
    *rows(("git",), """
        git-basics          | git init -q -b main . && git config user.name A && git config user.email a@b && git add . && GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000' git commit -qm first && git log --format='%H %s' && git status --short
        git-branches        | export GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'; git init -q -b main r && cd r && git config user.name A && git config user.email a@b && echo 1 > f && git add f && git commit -qm one && git checkout -q -b side && echo 2 >> f && git commit -qam two && git checkout -q main && git merge -q side && git log --oneline --graph && git diff HEAD~1
        git-clone-gc        | export GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'; git init -q -b main r && (cd r && git config user.name A && git config user.email a@b && cp ../*.txt . && git add . && git commit -qm all) && git clone -q r c && cd c && git gc -q && git fsck && git rev-parse HEAD
    """),
    *rows(("make",), """
        make                | printf 'all: a b\\n\\t@cat a b\\na:\\n\\t@echo built a > a\\nb: a\\n\\techo b > b\\n' > Makefile; make -s; make; make -n -B | head -3; make nothing; echo $?
        make-parallel       | printf 'all: 1 2 3 4\\n%%:\\n\\t@sleep 0.05; echo $@ > $@\\n' > Makefile; make -j3 -s; cat 1 2 3 4
    """),
    *rows(("gcc",), """
        gcc                 | gcc -O1 -Wall -o prog tree/a/one.c tree/b/main.c && ./prog; echo $?
        gcc-static-pie      | gcc -static-pie -o prog tree/a/one.c tree/b/main.c && ./prog; echo $?
        gcc-errors          | printf 'int main(void) { return x; }' > bad.c; gcc -c bad.c 2>&1 | grep -c error; gcc -E -dM - < /dev/null | grep -c __x86_64__
        gcc-shared-library  | gcc -shared -fPIC -o libone.so tree/a/one.c && gcc -o prog tree/b/main.c -L. -lone -Wl,-rpath,'$ORIGIN' && ./prog; echo $?
        ar-nm-objdump       | gcc -c tree/a/one.c && ar rc libone.a one.o && ar t libone.a && nm libone.a | tail -1 && objdump -d one.o | grep -c ret; strip one.o && size one.o | tail -1
    """, timeout=120.0),
    *rows(("jq",), """
        jq                  | jq -c '.floors | map(.is)' data.json; jq -r '.floors[] | "\\(.n) \\(.is)"' data.json; echo '{' | jq . ; echo $?
    """),
    *rows(("openssl",), """
        openssl-digest      | openssl dgst -sha256 words.txt; openssl dgst -md5 < lorem.txt; openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00112233445566778899aabbccddeeff -in words.txt | openssl base64
        openssl-keys        | openssl genrsa -out k 2048 2>/dev/null && openssl rsa -in k -check -noout 2>&1; openssl rand -hex 8 | wc -c
    """),
    *rows(("lua5.4",), """
        lua                 | lua5.4 -e 'local t = {} for i = 1, 10 do t[i] = i * i end print(table.concat(t, " ")) io.popen("echo sub"):lines()() os.exit(3)'
    """),
    *rows(("tclsh",), """
        tcl                 | echo 'puts [expr {6 * 7}]; puts [exec echo from tcl]; after 20 {set x 1}; vwait x; puts $x' | tclsh
    """),
    *rows(("bc",), """
        bc                  | echo 'scale=30; 4*a(1); 2^200' | bc -l
    """),
    *rows(("zip", "unzip"), """
        zip                 | zip -qr z.zip tree && unzip -Z1 z.zip | sort && unzip -q z.zip -d u && diff -r tree u/tree && echo same
    """),
    *rows(("patch",), """
        patch               | sed 's/fig/plum/' words.txt > w2; diff -u words.txt w2 > p; patch -s words.txt p && cmp words.txt w2 && echo patched
    """),
    *rows(("file",), """
        file                | file words.txt data.json tree /bin/sh | sed 's/,.*//'
    """),
    *rows(("ps",), """
        ps                  | sh -c 'ps -o comm= -p $$'; ps -e -o comm= | grep -c '^ps$'; sleep 30 & until ps -o stat= -p $! | grep -o S; do :; done; kill $!
    """),
    *rows(("perl",), """
        perl-network        | perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1"); if (!fork) { $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport); print $c "from perl\n"; exit 4 } $c = $s->accept; print <$c>; wait; print $? >> 8, "\n"'
    """),
    *rows(("tclsh",), """
        tcl-network         | echo 'set s [socket -server acc -myaddr 127.0.0.1 0]; proc acc {c a p} {puts $c "hello $a"; close $c}; set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]; after 100 {set done 1}; vwait done; puts [gets $c]' | tclsh
    """),
    *rows(("node",), """
        node-network        | node -e 'const h=require("http"); const s=h.createServer((q,r)=>r.end("ok "+q.url)); s.listen(0,"127.0.0.1",()=>h.get({port:s.address().port,host:"127.0.0.1",path:"/x"},r=>{r.on("data",d=>console.log(""+d)); r.on("end",()=>s.close())}))'
        node-children       | node -e 'const {execSync,spawn}=require("child_process"); console.log(""+execSync("echo sub")); const p=spawn("cat"); p.stdout.on("data",d=>console.log(""+d)); p.stdin.end("piped"); p.on("exit",c=>console.log("exit",c)); const {Worker}=require("worker_threads"); p.on("close",()=>new Worker("require(\\"worker_threads\\").parentPort.postMessage(42)",{eval:true}).on("message",m=>console.log(m)))'
        node-watch          | node -e 'const fs=require("fs"); const w=fs.watch(".",(e,f)=>{console.log(e,f); w.close()}); setTimeout(()=>fs.writeFileSync("made","x"),50); console.log(Object.keys(require("os").networkInterfaces())[0])'
    """),
    *rows(("redis-server", "redis-cli"), """
        redis               | redis-server --port 0 --unixsocket $PWD/s --save '' >log & until redis-cli -s s ping >/dev/null 2>&1; do sleep 0.1; done; redis-cli -s s set a 41; redis-cli -s s incr a; redis-cli -s s eval 'return redis.call("get", "a")' 0; redis-cli -s s shutdown nosave; wait $!; echo $?
        redis-tcp           | redis-server --port 17379 --bind 127.0.0.1 --save '' >log & until redis-cli -p 17379 ping 2>/dev/null; do sleep 0.1; done; redis-benchmark -p 17379 -n 300 -q -t set,get 2>&1 | tr '\\r' '\\n' | grep -c 'requests per second'; redis-cli -p 17379 shutdown nosave; wait $!; echo $?
    """),
    *rows(("socat",), """
        socat               | socat UNIX-LISTEN:s,fork SYSTEM:'tr a-z A-Z' & p=$!; until [ -S s ]; do sleep 0.05; done; echo hello | socat - UNIX-CONNECT:s; kill $p; socat TCP-LISTEN:17788,bind=127.0.0.1,reuseaddr EXEC:cat & sleep 0.4; echo tcp | socat -t 1 - TCP:127.0.0.1:17788
    """),
    *rows(("curl", "python3"), """
        curl                | /usr/bin/python3 -m http.server -b 127.0.0.1 18765 >/dev/null 2>&1 & until curl -s -o got http://127.0.0.1:18765/words.txt; do sleep 0.1; done; cmp got words.txt && echo same; kill $!; curl -s file://$PWD/words.txt | head -1; curl -s http://127.0.0.1:1/; echo $?
    """),
    *rows(("inotifywait",), """
        inotifywait         | mkdir d; (sleep 0.4; touch d/f; mv d/f d/g; rm d/g) & inotifywait -q -t 5 -e create d; wait; ls d | wc -l
    """),
    *rows(("expect",), """
        expect              | expect -c 'log_user 0; spawn -noecho cat; send "typed\\r"; expect "typed"; puts got; send "\\004"; expect eof; puts end'
    """),
    *rows(("tmux",), """
        tmux                | tmux -L t -f /dev/null new-session -d -x 80 -y 24 'echo inside; sleep 5' && sleep 0.5 && tmux -L t capture-pane -p | head -1; tmux -L t kill-server; echo $?
    """),
    *rows(("rsync",), """
        rsync               | rsync -a tree/ copy/ && diff -r tree copy && echo same; rsync -a --delete --stats tree/ copy/ | grep 'files transferred'
    """),
    *rows(("strace",), """
        nested-refusal      | /usr/bin/strace -V | head -1 | cut -d' ' -f1
    """),
)

APPLETS = """
    sh                  | echo from $0; for i in 1 2 3; do echo $((i*i)); done | tac; x=$(seq 5 | tr '\\n' ,); echo $x
    files               | cp words.txt w; ls; wc w; md5sum w; rm w; find tree -type f | sort; stat -c %s words.txt; du -s tree | cut -f2
    text                | sort words.txt | uniq -c; grep -n fig words.txt; sed s/a/A/ words.txt; awk '{s+=$1} END {print s}' numbers.txt; cut -c1-2 words.txt
    archives            | tar cf t.tar tree; tar tf t.tar; gzip lorem.txt; zcat lorem.txt.gz | md5sum; echo hi | bzip2 | bunzip2
    processes           | (sleep 0.1; echo later) & wait; timeout 1 sleep 0.1; echo $?; true; false; echo $?; sleep 9 & kill $!; { wait $!; } 2>/dev/null; echo $?
    numbers             | expr 6 '*' 7; seq 3 7; factor 360; printf '%d %s\\n' 5 x; dc -e '2 3 + p'
    other               | echo hello | rev; echo abc | xxd; yes | head -2; nproc; basename /a/b; realpath . | grep -c /; od -c words.txt | head -2
"""


def corpus() -> Iterator[Program]:
    """Every command line, in order; names are unique."""
    for program in rows((), COREUTILS):
        yield _named("coreutils", program)
    for shell in ("dash", "bash"):
        for program in rows((shell,), SHELL):
            yield _named(shell, program, shell=(shell, "-c"), stdin=b"typed\n")
    for program in rows(("bash",), BASH):
        yield _named("bash", program, shell=("bash", "-c"))
    for group, table in (("text", TEXT), ("archives", ARCHIVES)):
        for program in rows((), table):
            yield _named(group, program)
    for name, source in PYTHON.items():
        yield Program(name=f"python-{name}", script=source, needs=("python3",), shell=("/usr/bin/python3", "-c"), timeout=90)
    yield Program(name="python-venv", needs=("python3",), timeout=120, script=(
        "/usr/bin/python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)' && ls v/bin"))
    yield Program(name="python-compileall", needs=("python3",), timeout=90, script=(
        "mkdir m && echo 'x = 1' > m/a.py && /usr/bin/python3 -m compileall -q m && ls m/__pycache__ && /usr/bin/python3 -m json.tool data.json"))
    yield from (_named("tool", program) for program in TOOLS)
    for program in rows(("busybox",), APPLETS):
        yield _named("busybox", program, shell=("busybox", "sh", "-c"))
    for tool in ("ls -la tree/a | wc -l", "cat words.txt", "sort -u words.txt", "wc lorem.txt", "sha256sum lorem.txt", "uname -m", "cal 2 2024",
                 "tar cf - tree | busybox tar tf -", "diff words.txt numbers.txt | busybox head -3", "vi -H | busybox head -1"):
        yield Program(name=f"busybox-applet-{tool.split()[0]}", script=f"busybox {tool}", needs=("busybox",))


def _named(group: str, program: Program, *, shell: tuple[str, ...] | None = None, stdin: bytes | None = None) -> Program:
    return Program(name=f"{group}-{program.name}", script=program.script.replace("\\n", "\n") if "<<" in program.script else program.script,
                   needs=program.needs, shell=shell or program.shell, stdin=program.stdin if stdin is None else stdin, timeout=program.timeout)
