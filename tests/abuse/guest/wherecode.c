/* Prints which memory that is nobody's file may be executed: the stack, the heap, what mmap gave to be read and written.
 * With an argument it runs that program, with the rest as its arguments.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 1) return execv(argv[1], argv + 1);
    char *fresh = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    int here;
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char prot[8];
        sscanf(line, "%lx-%lx %7s", &start, &end, prot);
        if ((unsigned long)&here >= start && (unsigned long)&here < end) printf("stack %s\n", prot);
        if ((unsigned long)fresh >= start && (unsigned long)fresh < end) printf("fresh %s\n", prot);
    }
    return 0;
}
