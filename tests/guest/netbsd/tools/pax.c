/* What PaX lets this program do, and where it put it: the stack's end, a mapping; whether memory may be written and executed, at
 * once or one after the other.  Its note says nothing; whoever runs it changes the flags in the file.
 * builds: amd64 i386 */
#include "nb.h"

__attribute__((section(".note.netbsd.pax"), used, aligned(4))) static const struct {
    u32 namesz, descsz, type; char name[4]; u32 flags;
} pax_note = {4, 4, 3, "PaX", 0};

static int cases(int argc, char **argv)
{
    (void)argc;
    struct result both = CALL7(SYS_mmap, 0, 4096, 7, 0x1002, -1, 0, 0), data = CALL7(SYS_mmap, 0, 4096, 3, 0x1002, -1, 0, 0);
    *(volatile u8 *)data.value = 0xc3;                                   /* ret */
    struct result later = CALL3(SYS_mprotect, data.value, 4096, 5);
    if (!later.carry) ((void (*)(void))data.value)();
    number((u64)argv), put(" "), number(data.value), put(" ");
    number(both.carry), put(" "), number(later.carry ? later.value : 0), put("\n");
    return 0;
}
