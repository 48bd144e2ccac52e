/* Starts what its arguments name, and says what came of it: "exit N" or "signal N", or "errno N" where exec refuses.
 *     crossing PROGRAM ARG...
 */
#include "sy.h"

static int run(int argc, char **argv, char **envp)
{
    static struct string arguments[64], environment[256];
    struct siginfo info;
    word count = 0;
    if (argc < 2 || argc > 65) return 2;
    for (int n = 1; n < argc; n++) arguments[n - 1] = string(argv[n]);
    for (; envp[count] && count < 256; count++) environment[count] = string(envp[count]);
    i64 pid = CALL0(SC_fork);
    if (!pid) {
        struct execve_params params = {string(argv[1]), {arguments, (word)argc - 1}, {environment, count}};
        leave(100 + (int)-CALL1(SC_execve, &params));
    }
    struct waitid_params params = {2, (i32)pid, &info, 4};
    CALL1(SC_waitid, &params);
    put(info.code ? "signal " : info.status > 100 ? "errno " : "exit ");
    number((u64)(info.code || info.status <= 100 ? info.status : info.status - 100));
    put("\n");
    return 0;
}
