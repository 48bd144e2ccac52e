/* pledge with no_error: what is asked for too much is left out, not refused. */
#include "sy.h"

static void clipped(void) { pledge("stdio rpath", NULL); open_file("/dev/null", O_WRONLY, 0); }
static void kept(void) { leave(open_file("/dev/null", O_RDONLY, 0) >= 0 ? 0 : 1); }
static void promises_nothing(void)
{
    i64 found = pledge("", "");
    if (!found) found = pledge("", NULL);
    leave(found == 0 && pledge(NULL, "stdio") == -EPERM && pledge("stdio", NULL) == -EPERM ? 0 : 1);
}

static int run(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    CHECK(pledge("stdio rpath proc no_error", "stdio exec") == 0);
    CHECK(pledge("stdio rpath wpath proc no_error", NULL) == 0);
    CHECK(in_child(kept) == 256);
    CHECK(in_child(clipped) == SIGABRT);
    CHECK(pledge("stdio rpath proc no_error", "stdio proc wpath") == 0);
    CHECK(pledge("wpath stdio rpath proc", "stdio proc") == 0);  /* both are clipped, by the promises that were held before */
    CHECK(in_child(clipped) == SIGABRT);
    CHECK(pledge("stdio wpath", NULL) == -EPERM);                /* no_error is gone */
    CHECK(pledge(NULL, "stdio proc") == -EPERM);
    CHECK(pledge(NULL, "stdio") == 0);
    CHECK(in_child(promises_nothing) == 256);
    return 0;
}
