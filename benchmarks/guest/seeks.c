/* Calls that all differ, as a trace of them does: lseek to 0, 1, 2 ...  Argument: calls. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long calls = argc > 1 ? atol(argv[1]) : 20000;
    int fd = open(argv[0], O_RDONLY);
    for (long i = 0; i < calls; i++) if (lseek(fd, i, SEEK_SET) != i) return 1;
    return 0;
}
