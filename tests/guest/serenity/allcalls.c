/* Every call there is, with arguments that are addresses of nothing: none but futex and emuctl says that it is not there.
 * Tests/Kernel/fuzz-syscalls.
 */
#include "sy.h"

static word subject;
static void call_it(void)
{
    leave(CALL4(subject, 0xc0000001, 0xc0000002, 0xc0000003, 0xc0000004) == -ENOSYS ? 77 : 1);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    CHECK(CALL4(SC_count, 0xc0000001, 0xc0000002, 0xc0000003, 0xc0000004) == -ENOSYS && CALL0(-1) == -ENOSYS && CALL0(1ull << 32) == -ENOSYS);
    CHECK(CALL4(SC_emuctl, 0xc0000001, 0xc0000002, 0xc0000003, 0xc0000004) == -ENOSYS);
    for (word tens = 0; tens < SC_count; tens += 10) {
        int missing = 0;
        for (subject = tens; subject < tens + 10 && subject < SC_count; subject++) {
            if (subject == SC_futex || subject == SC_emuctl || subject == SC_dump_backtrace) continue;
            int came = in_child(call_it);
            if (came == 256 + 77) number(subject), put(" is missing\n"), missing++;
        }
        CHECK(missing == 0);
    }
    return 0;
}
