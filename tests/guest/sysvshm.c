/* System V shared memory: keys, attachments, what becomes of a segment that was removed.
 * builds: x64
 */
#include "case.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static int id;
static void tell_of(const char *what)
{
    struct shmid_ds d;
    if (shmctl(id, IPC_STAT, &d) < 0) { say("%s: %s", what, errno_name(errno)); return; }
    say("%s: %zu bytes, %d attached, mode %o, key %d, mine %d, changed %d, last %d", what, d.shm_segsz, (int)d.shm_nattch, d.shm_perm.mode,
        d.shm_perm.__key != 0, d.shm_cpid == getpid(), d.shm_ctime != 0, d.shm_lpid == getpid());
}

CASE(a_life)
{
    T((id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600)) >= 0);
    tell_of("new");
    char *a = shmat(id, 0, 0), *b = shmat(id, 0, SHM_RDONLY);
    say("attached %d", a != (void *)-1 && b != (void *)-1 && a != b);
    strcpy(a + 4990, "shared");
    say("%s", b + 4990);
    tell_of("twice");
    if (!fork()) { strcpy(a, "from the child"); tell_of("child"); shmdt(b); tell_of("child let one go"); _exit(0); }
    T(wait(0) > 0);
    say("%s", b);
    tell_of("child gone");
    T(mprotect(b, 4096, PROT_READ | PROT_WRITE));
    T(shmdt(b + 1));
    T(shmdt(b + 4096));
    T(shmdt(b));
    T(shmdt(b));
    T(shmctl(id, IPC_RMID, 0));
    tell_of("removed");
    say("%s", a);
    b = shmat(id, 0, 0);
    say("again %d %s", b != (void *)-1, b != (void *)-1 ? b : "");
    T(shmdt(a));
    T(b != (void *)-1 ? shmdt(b) : 0);
    T(shmctl(id, IPC_STAT, &(struct shmid_ds){0}));
}

CASE(keys)
{
    key_t key = 0x52330000 ^ getpid();
    struct shmid_ds d;
    T(shmget(key, 100, 0600));
    T((id = shmget(key, 100, IPC_CREAT | IPC_EXCL | 0640)) >= 0);
    tell_of("new");
    T(shmget(key, 0, 0) == id);
    T(shmget(key, 100, IPC_CREAT | 0600) == id);
    T(shmget(key, 5000, 0));
    T(shmget(key, 100, IPC_CREAT | IPC_EXCL));
    T(shmctl(id, IPC_STAT, &d));
    d.shm_perm.mode = 0606;
    T(shmctl(id, IPC_SET, &d));
    tell_of("set");
    T(shmctl(id, 77, &d));
    struct shminfo limits;
    T(shmctl(0, IPC_INFO, (void *)&limits) >= 0);
    T(shmctl(0, SHM_INFO, (void *)&d) >= 0);
    T(shmctl(id % 32768, SHM_STAT, &d) == id);
    T(shmctl(id, IPC_STAT, (void *)8));
    T(shmctl(-1, IPC_STAT, &d));
    T((long)shmat(id, (void *)0x1001, 0));
    T((long)shmat(id, 0, SHM_REMAP));
    T((long)shmat(-5, 0, 0));
    char *a = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    T((long)shmat(id, a, 0));
    T(shmat(id, a, SHM_REMAP) == a);
    strcpy(a, "over it");
    T(munmap(a, 4096));
    tell_of("unmapped");
    T(shmctl(id, IPC_RMID, 0));
    T(shmget(key, 100, 0600));
    T(shmget(IPC_PRIVATE, 0, 0600));
}
