/* allocate_tls, as the loader makes it: a program without storage of its own (reference 1.12). */
#include "sy.h"

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)

static word self(void) { word value; __asm__ volatile("mov %%fs:0, %0" : "=r"(value)); return value; }
static void touch(void) { self(); }

static int run(int argc, char **argv, char **envp)
{
    CHECK(in_child(touch) == SIGSEGV);                              /* nothing there yet */
    i64 data = map(NULL, 2 * PAGE, RW, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    *(word *)(data + 2 * (i64)PAGE - 8) = 0xabcdef;
    CHECK(CALL2(SC_allocate_tls, data, 0) == -EINVAL);
    CHECK(CALL2(SC_allocate_tls, data, PAGE - 1) == -EINVAL);
    CHECK(CALL2(SC_allocate_tls, data, 3 * PAGE) == -EFAULT);
    CHECK(CALL2(SC_allocate_tls, 8, PAGE) == -EFAULT);
    CHECK(CALL2(SC_allocate_tls, data, 1UL << 40) == -ENOMEM);
    CHECK(CALL2(SC_allocate_tls, data, -PAGE) == -ENOMEM);
    CHECK(in_child(touch) == SIGSEGV);
    i64 master = CALL2(SC_allocate_tls, data, 2 * PAGE);
    CHECK(master > 0 && master != data && *(word *)(master + 2 * (i64)PAGE - 8) == 0xabcdef);
    CHECK(self() != 0 && *(word *)self() == self());
    CHECK(*(word *)(self() - 8) == 0xabcdef && *(word *)(self() - 2 * PAGE) == 0);
    CHECK(CALL2(SC_allocate_tls, data, PAGE) == -EEXIST);
    CHECK(CALL2(SC_munmap, master, 2 * PAGE) == -EPERM);
    CHECK(in_child(touch) == 256);
    return 0;
}
