"""The machine code of the native machine, and where it stands.

Two pieces.  The **stub page** is mapped into every stub, above `USER_TOP`: gadgets through which the kernel makes a
stub do a host call (`call`, `batch`) or an atomic update (`cmpxchg`); each ends in `int3`, which the kernel sees as a
stop.  The **helper page** belongs to the Python process: `step` is one turn of the hot path (write registers, resume,
wait, fetch what stopped) without a single argument to convert, `start` makes the first stub.

Every line below is its bytes, a semicolon, and the assembly they came from; a test assembles the right side again.
None of the code touches a stack that is not its own: the stub page runs on whatever the guest left in its registers.

Security: a guest may jump anywhere into the stub page.  What it does there is a guest's system call like any other,
because `PTRACE_SYSEMU` comes before the filter; the filter below is the second wall, for calls that SYSEMU does not
see (the vsyscall page) and for a mistake of ours.
"""

from __future__ import annotations

import struct
from typing import Final

PAGE: Final = 4096

USER_TOP: Final = 0x7FFF_FFFF_0000           # first address no guest may use; what follows is ours
COMMANDS: Final = USER_TOP                   # call descriptors of a batch, read-only for stubs
COMMAND_PAGES: Final = 2
BELL_PAGE: Final = 0x7FFF_FFFF_8000          # writable, in the doorbell stub alone
STUB_PAGE: Final = 0x7FFF_FFFF_E000          # the gadgets; the last page a 64-bit program can have
AREA_END: Final = STUB_PAGE + PAGE

COMMAND: Final = struct.Struct("<8q")        # number, six arguments, unused
MAX_COMMANDS: Final = COMMAND_PAGES * PAGE // COMMAND.size

# `batch`: rbx points to the first descriptor, rbp counts those left; it stops at the first that fails, rax is the last
# result.
_STUB: Final = """
0f05                   ; call:      syscall
cc                     ; call_end:  int3
488b03                 ; batch:     mov rax,[rbx]
488b7b08               ;            mov rdi,[rbx+8]
488b7310               ;            mov rsi,[rbx+16]
488b5318               ;            mov rdx,[rbx+24]
4c8b5320               ;            mov r10,[rbx+32]
4c8b4328               ;            mov r8,[rbx+40]
4c8b4b30               ;            mov r9,[rbx+48]
0f05                   ;            syscall
483d01f0ffff           ; batch_ret: cmp rax,-4095
7309                   ;            jae batch_end
4883c340               ;            add rbx,64
48ffcd                 ;            dec rbp
75d2                   ;            jnz batch
cc                     ; batch_end: int3
f00fb137               ; cmpxchg:   lock cmpxchg [rdi],esi
cc                     ; cmp_end:   int3
"""

# The control block is at rbx, the block of the stub to resume (or that stopped) at rbp; the offsets are `ptrace.py`'s.
_STEP: Final = """
53                     ; step:      push rbx
55                     ;            push rbp
48bb0000000000000000   ;            movabs rbx,0
31c0                   ;            xor eax,eax
48894320               ;            mov [rbx+0x20],rax
48894330               ;            mov [rbx+0x30],rax
488b6b08               ;            mov rbp,[rbx+8]
4885ed                 ;            test rbp,rbp
7447                   ;            jz wait
48c78590000000ffffffff ;            mov qword ptr [rbp+0x90],-1
bf0d000000             ;            mov edi,13
488b7500               ;            mov rsi,[rbp]
31d2                   ;            xor edx,edx
4c8d5518               ;            lea r10,[rbp+0x18]
b865000000             ;            mov eax,101
0f05                   ;            syscall
4885c0                 ;            test rax,rax
0f88c7000000           ;            js failed
488b7d08               ;            mov rdi,[rbp+8]
488b7500               ;            mov rsi,[rbp]
31d2                   ;            xor edx,edx
4531d2                 ;            xor r10d,r10d
b865000000             ;            mov eax,101
0f05                   ;            syscall
4885c0                 ;            test rax,rax
0f88aa000000           ;            js failed
488b5318               ; wait:      mov rdx,[rbx+0x18]
4885d2                 ;            test rdx,rdx
0f849a000000           ;            jz out
488b7b10               ;            mov rdi,[rbx+0x10]
488d7328               ;            lea rsi,[rbx+0x28]
4531d2                 ;            xor r10d,r10d
b83d000000             ;            mov eax,61
0f05                   ;            syscall
48894320               ;            mov [rbx+0x20],rax
4885c0                 ;            test rax,rax
7e7f                   ;            jle out
4885ed                 ;            test rbp,rbp
7406                   ;            jz other
483b4500               ;            cmp rax,[rbp]
7408                   ;            je ours
488b6b38               ; other:     mov rbp,[rbx+0x38]
48894500               ;            mov [rbp],rax
48c785f000000000000000 ; ours:      mov qword ptr [rbp+0xf0],0
807b287f               ;            cmp byte ptr [rbx+0x28],0x7f
755b                   ;            jne out
bf0c000000             ;            mov edi,12
488b7500               ;            mov rsi,[rbp]
31d2                   ;            xor edx,edx
4c8d5518               ;            lea r10,[rbp+0x18]
b865000000             ;            mov eax,101
0f05                   ;            syscall
4885c0                 ;            test rax,rax
7843                   ;            js failed
488b7500               ;            mov rsi,[rbp]
817b287f850000         ;            cmp dword ptr [rbx+0x28],0x857f
7513                   ;            jne signal
bf0e420000             ;            mov edi,0x420e
ba10000000             ;            mov edx,16
4c8d95f0000000         ;            lea r10,[rbp+0xf0]
eb19                   ;            jmp last
48c7850801000000000000 ; signal:    mov qword ptr [rbp+0x108],0
bf02420000             ;            mov edi,0x4202
31d2                   ;            xor edx,edx
4c8d9500010000         ;            lea r10,[rbp+0x100]
b865000000             ; last:      mov eax,101
0f05                   ;            syscall
5d                     ; out:       pop rbp
5b                     ;            pop rbx
c3                     ;            ret
48894330               ; failed:    mov [rbx+0x30],rax
ebf7                   ;            jmp out
"""

# Clones the first stub with the descriptor table shared, all signals blocked so that no handler of Python runs there;
# it asks to die with this thread, leaves if that came too late, and sleeps until seized.
_START: Final = """
53                     ; start:     push rbx
55                     ;            push rbp
48bb0000000000000000   ;            movabs rbx,0
bf02000000             ;            mov edi,2
488d7340               ;            lea rsi,[rbx+0x40]
488d5348               ;            lea rdx,[rbx+0x48]
41ba08000000           ;            mov r10d,8
b80e000000             ;            mov eax,14
0f05                   ;            syscall
b827000000             ;            mov eax,39
0f05                   ;            syscall
4889c5                 ;            mov rbp,rax
bf00040000             ;            mov edi,0x400
31f6                   ;            xor esi,esi
31d2                   ;            xor edx,edx
4531d2                 ;            xor r10d,r10d
4531c0                 ;            xor r8d,r8d
b838000000             ;            mov eax,56
0f05                   ;            syscall
4885c0                 ;            test rax,rax
741f                   ;            jz child
48894320               ;            mov [rbx+0x20],rax
bf02000000             ;            mov edi,2
488d7348               ;            lea rsi,[rbx+0x48]
31d2                   ;            xor edx,edx
41ba08000000           ;            mov r10d,8
b80e000000             ;            mov eax,14
0f05                   ;            syscall
5d                     ;            pop rbp
5b                     ;            pop rbx
c3                     ;            ret
bf01000000             ; child:     mov edi,1
be09000000             ;            mov esi,9
b89d000000             ;            mov eax,157
0f05                   ;            syscall
b86e000000             ;            mov eax,110
0f05                   ;            syscall
4839e8                 ;            cmp rax,rbp
740c                   ;            je park
bf01000000             ;            mov edi,1
b8e7000000             ;            mov eax,231
0f05                   ;            syscall
b822000000             ; park:      mov eax,34
0f05                   ;            syscall
ebf7                   ;            jmp park
"""


def _assemble(listing: str) -> tuple[bytes, dict[str, int]]:
    """The bytes of a listing, and the offset of each label."""
    code, labels = bytearray(), {}
    for line in listing.strip().splitlines():
        digits, _, text = line.partition(";")
        label, colon, _ = text.partition(":")
        if colon:
            labels[label.strip()] = len(code)
        code += bytes.fromhex(digits)
    return bytes(code), labels


def stub_page() -> bytes:
    """The contents of the stub page: gadgets, then the data its set-up calls point to."""
    page = bytearray(PAGE)
    page[: len(STUB_CODE)] = STUB_CODE
    program = _filter()
    page[FILTER_AT : FILTER_AT + len(program)] = program
    struct.pack_into("<HxxxxxxQ", page, FPROG_AT, len(program) // 8, STUB_PAGE + FILTER_AT)
    page[NAME_AT : NAME_AT + 5] = b"ring3"
    return bytes(page)


def _filter() -> bytes:
    """A seccomp program: calls only from the two `syscall` instructions of the stub page, SIGSYS for everything else.

    The instruction pointer the filter sees is behind the instruction (seccomp(2), `struct seccomp_data`).
    """
    load, equal, ret = 0x20, 0x15, 0x06                          # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    allow, trap = 0x7FFF_0000, 0x0003_0000                       # SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP
    rows = (
        (load, 0, 0, 4), (equal, 0, 6, 0xC000_003E),             # arch: AUDIT_ARCH_X86_64
        (load, 0, 0, 12), (equal, 0, 4, STUB_PAGE >> 32),
        (load, 0, 0, 8), (equal, 1, 0, (CALL + 2) & 0xFFFF_FFFF), (equal, 0, 1, BATCH_RETURN & 0xFFFF_FFFF),
        (ret, 0, 0, allow), (ret, 0, 0, trap),
    )
    return b"".join(struct.pack("<HBBI", *row) for row in rows)


def helper_page(control: int) -> bytes:
    """The contents of the helper page for the control block at address `control`.

    `step` stands at its beginning, `start` at `START_AT`, a copy of the gadgets at `GADGETS_AT` (for the first calls
    of the first stub, which has no stub page yet).
    """
    page = bytearray(PAGE)
    for at, code in ((0, STEP_CODE), (START_AT, START_CODE)):
        page[at : at + len(code)] = code.replace(_NO_CONTROL, b"\x48\xbb" + control.to_bytes(8, "little"))
    page[GADGETS_AT : GADGETS_AT + len(STUB_CODE)] = STUB_CODE
    return bytes(page)


STUB_CODE, _stub_labels = _assemble(_STUB)
STEP_CODE, _ = _assemble(_STEP)
START_CODE, _ = _assemble(_START)
_NO_CONTROL: Final = b"\x48\xbb" + bytes(8)                      # movabs rbx,0

CALL: Final = STUB_PAGE + _stub_labels["call"]
BATCH: Final = STUB_PAGE + _stub_labels["batch"]
BATCH_RETURN: Final = STUB_PAGE + _stub_labels["batch_ret"]
CMPXCHG: Final = STUB_PAGE + _stub_labels["cmpxchg"]
# From a gadget's entry to behind the int3 it ends with.
CALL_LENGTH: Final = _stub_labels["call_end"] + 1 - _stub_labels["call"]
BATCH_LENGTH: Final = _stub_labels["batch_end"] + 1 - _stub_labels["batch"]
CMPXCHG_LENGTH: Final = _stub_labels["cmp_end"] + 1 - _stub_labels["cmpxchg"]

ZEROS_AT: Final = 0x100                      # offsets in the stub page: a page-aligned nothing, for set-up calls
FILTER_AT: Final = 0x200
FPROG_AT: Final = 0x300
NAME_AT: Final = 0x340

START_AT: Final = 0x400                      # offsets in the helper page
GADGETS_AT: Final = 0x800
