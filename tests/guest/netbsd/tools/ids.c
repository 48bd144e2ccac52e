/* Who a program is after an exec: ids, what issetugid says, the lowest descriptor that is free.  "!PATH" closes the first three
 * descriptors and runs PATH; the answer goes to the file "said" of the current directory.
 * builds: amd64 i386 */
#include "nb.h"

static int cases(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] == '!') {
        const char *again[] = {argv[1] + 1, 0}, *none[] = {0};
        for (int fd = 0; fd < 3; fd++) CALL1(SYS_close, fd);
        CALL3(SYS_execve, argv[1] + 1, again, none);
        return 9;
    }
    struct result user = CALL0(SYS_getuid), group = CALL0(SYS_getgid), out = CALL3(SYS_open, "said", 0x601, 0666);
    if (out.carry) return 8;
    CALL2(90, out.value, 1);                                            /* dup2 */
    number(user.value), put(" "), number(user.second), put(" "), number(group.value), put(" "), number(group.second), put(" ");
    number(CALL0(SYS_issetugid).value), put(" "), number(out.value), put(argc > 1 ? " " : ""), put(argc > 1 ? argv[1] : "");
    return 0;
}
