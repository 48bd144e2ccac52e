/* What a NetBSD process finds under which name.  Arguments: "PATH" prints what stands there, "+PATH" makes it, "-PATH" takes it away,
 * "@PATH" makes it the current directory, "!PATH ARG..." runs it; what is refused prints its errno.
 * builds: amd64 i386 */
#include "nb.h"

static int cases(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *path = argv[i] + 1;
        struct result done;
        switch (argv[i][0]) {
        case '+': done = CALL3(SYS_open, path, 0x0a01, 0644); break;        /* O_WRONLY | O_CREAT | O_EXCL */
        case '-': done = CALL1(10, path); break;                            /* unlink */
        case '@': done = CALL1(12, path); break;                            /* chdir */
        case '!': argv[i] = argv[i] + 1; done = CALL3(SYS_execve, path, argv + i, start_strings->envp); break;
        default:
            done = CALL3(SYS_open, argv[i], 0, 0);
            if (!done.carry) {
                char text[256];
                struct result got = CALL3(SYS_read, done.value, text, sizeof text - 1);
                if (!got.carry) { text[got.value] = 0; put(text); }
                CALL1(SYS_close, done.value);
                done = got;
            }
        }
        if (done.carry) { put("errno "); number(done.value); put("\n"); }
    }
    return 0;
}
