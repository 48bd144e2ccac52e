/* Runs another program under a pledge and a veil, as SerenityOS's pledge and unveil utilities do: under EXECPROMISES [nPATH LETTERS |
 * lPATH LETTERS]... -- PROGRAM ARG...  n: for this program, now; l: for the next, later.  "-" for no promises.  Ends with the exec's
 * errno where that is refused, with 100 and more where something else is.
 */
#include "sy.h"

static int run(int argc, char **argv, char **envp)
{
    (void)envp;
    int at = 2, count = 0;
    if (argc < 4) return 100;
    for (; at + 1 < argc && !same(argv[at], "--"); at += 2) {
        struct unveil_params params = {argv[at][0] == 'n' ? 1 : 2, string(argv[at] + 1), string(argv[at + 1])};
        if (CALL1(SC_unveil, &params)) return 101;
    }
    if (!same(argv[1], "-") && pledge("stdio rpath proc exec", argv[1])) return 102;
    struct string words[16];
    for (char **word = argv + at + 1; *word && count < 16; word++) words[count++] = string(*word);
    struct string path = string("PATH=/usr/bin:/bin");
    struct execve_params params = {words[0], {words, (word)count}, {&path, 1}};
    return (int)-CALL1(SC_execve, &params);
}
