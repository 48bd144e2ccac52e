/* Threads as programs use them: pthreads over clone, futex and thread-local storage.
 * builds: x64 i386 gnu
 */
#include "case.h"
#include <pthread.h>
#include <semaphore.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static __thread int own = 5;

static void *adds(void *argument)
{
    for (int i = 0; i < 2000; i++) { pthread_mutex_lock(&lock); counter++; pthread_mutex_unlock(&lock); }
    own += (int)(intptr_t)argument;
    return (void *)(intptr_t)own;
}

CASE(mutex_and_join)
{
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) R(pthread_create(&threads[i], NULL, adds, (void *)i));
    for (int i = 0; i < 4; i++) { void *result; pthread_join(threads[i], &result); say("own %d", (int)(intptr_t)result); }
    say("counter %d own %d", counter, own);
}

static void *ping(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me) pthread_cond_wait(&condition, &lock);
        counter++, turn = 1 - me;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

CASE(condition_variables)
{
    pthread_t a, b;
    pthread_create(&a, NULL, ping, (void *)0), pthread_create(&b, NULL, ping, (void *)1);
    pthread_join(a, NULL), pthread_join(b, NULL);
    say("counter %d", counter);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_nsec -= 1000000000, soon.tv_sec++;
    pthread_mutex_lock(&lock);
    R(pthread_cond_timedwait(&condition, &lock, &soon));
    pthread_mutex_unlock(&lock);
}

static void *identity(void *argument)
{
    *(pid_t *)argument = (pid_t)syscall(SYS_gettid);
    return (void *)(intptr_t)getpid();
}

CASE(identities)
{
    pid_t tid;
    void *pid;
    pthread_t thread;
    pthread_create(&thread, NULL, identity, &tid);
    pthread_join(thread, &pid);
    IS(getpid() == (int)(intptr_t)pid);
    IS(tid != getpid());
    IS(syscall(SYS_gettid) == getpid());
    T(syscall(SYS_tgkill, getpid(), 1 << 29, 0));
    T(syscall(SYS_tkill, -1, 0));
}

static void *holds(void *argument) { (void)argument; pthread_mutex_lock(&lock); return NULL; }

CASE(robust_mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&lock, &attributes);
    pthread_t thread;
    pthread_create(&thread, NULL, holds, NULL);
    pthread_join(thread, NULL);
    R(pthread_mutex_lock(&lock));
    R(pthread_mutex_consistent(&lock));
    R(pthread_mutex_unlock(&lock));
    R(pthread_mutex_lock(&lock));
    pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(shared, &attributes);
    CHILD pthread_mutex_lock(shared); kill(getpid(), SIGKILL); REAPED
    R(pthread_mutex_lock(shared));
}

CASE(kinds_of_mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutex_t m;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&m, &attributes);
    R(pthread_mutex_unlock(&m));
    R(pthread_mutex_lock(&m));
    R(pthread_mutex_lock(&m));
    R(pthread_mutex_trylock(&m));
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t r;
    pthread_mutex_init(&r, &attributes);
    R(pthread_mutex_lock(&r));
    R(pthread_mutex_lock(&r));
    struct timespec past = {1, 0};
    R(pthread_mutex_timedlock(&r, &past));
}

static void cleaned(void *argument) { say("cleaned up %s", (char *)argument); }
static void *waits(void *argument)
{
    (void)argument;
    pthread_cleanup_push(cleaned, "after cancel");
    pause();
    pthread_cleanup_pop(0);
    return NULL;
}
static void *reads(void *argument)
{
    char c;
    pthread_cleanup_push(cleaned, "in read");
    read(*(int *)argument, &c, 1);
    pthread_cleanup_pop(0);
    return NULL;
}

CASE(cancel)
{
    pthread_t thread;
    void *result;
    int p[2];
    pthread_create(&thread, NULL, waits, NULL);
    pause_ms(20);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    IS(result == PTHREAD_CANCELED);
    pipe(p);
    pthread_create(&thread, NULL, reads, p);
    pause_ms(20);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    IS(result == PTHREAD_CANCELED);
}

static pthread_key_t key;
static void destroyed(void *value) { say("destroyed %d", (int)(intptr_t)value); }
static void *keyed(void *argument) { pthread_setspecific(key, argument); return NULL; }
static void once(void) { say("once"); }

CASE(keys_and_once)
{
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    pthread_once(&control, once);
    pthread_once(&control, once);
    pthread_key_create(&key, destroyed);
    pthread_t thread;
    pthread_create(&thread, NULL, keyed, (void *)9);
    pthread_join(thread, NULL);
}

static pthread_barrier_t barrier;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static void *meets(void *argument)
{
    (void)argument;
    pthread_rwlock_rdlock(&rw);
    int serial = pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
    pthread_rwlock_unlock(&rw);
    sem_post(&semaphore);
    return (void *)(intptr_t)serial;
}

CASE(barriers_locks_semaphores)
{
    pthread_t threads[5];
    int serial = 0;
    pthread_barrier_init(&barrier, NULL, 5);
    sem_init(&semaphore, 0, 0);
    for (int i = 0; i < 5; i++) pthread_create(&threads[i], NULL, meets, NULL);
    for (int i = 0; i < 5; i++) sem_wait(&semaphore);
    for (int i = 0; i < 5; i++) { void *r; pthread_join(threads[i], &r); serial += (int)(intptr_t)r; }
    say("serial %d", serial);
    R(pthread_rwlock_trywrlock(&rw));
    R(pthread_rwlock_tryrdlock(&rw));
    T(sem_trywait(&semaphore));
}

static volatile sig_atomic_t where;
static pthread_t hit;
static void note_thread(int number) { (void)number; hit = pthread_self(); where = 1; }
static void *sleeps(void *argument) { (void)argument; while (!where) pause_ms(5); return NULL; }

CASE(signals_to_threads)
{
    sigset_t set;
    pthread_t thread;
    handle(SIGUSR1, note_thread, SA_RESTART);
    pthread_create(&thread, NULL, sleeps, NULL);
    R(pthread_kill(thread, SIGUSR1));
    pthread_join(thread, NULL);
    IS(pthread_equal(hit, thread));
    where = 0;
    pthread_create(&thread, NULL, sleeps, NULL);
    sigemptyset(&set), sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    pthread_join(thread, NULL);
    IS(pthread_equal(hit, thread));
    raise(SIGUSR1);
    sigpending(&set);
    say("pending here %d", sigismember(&set, SIGUSR1));
}

static void *exits(void *argument) { if (argument) { pause_ms(20); exit(17); } pthread_exit((void *)4); }
static void *after_main(void *argument) { (void)argument; pause_ms(50); say("main is gone, the process is not"); return NULL; }
static void *crashes(void *argument) { (void)argument; *(volatile int *)8 = 1; return NULL; }

CASE(ends)
{
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, exits, NULL);
    pthread_join(thread, &result);
    say("%d", (int)(intptr_t)result);
    CHILD pthread_create(&thread, NULL, exits, (void *)1); for (;;) pause(); REAPED
    CHILD pthread_create(&thread, NULL, after_main, NULL); pthread_exit(NULL); REAPED
    CHILD pthread_create(&thread, NULL, crashes, NULL); for (;;) pause(); REAPED
    pid_t pid = fork();
    if (pid == 0) { pthread_create(&thread, NULL, waits, NULL); syscall(SYS_exit, 3); }
    pause_ms(30);
    T(waitpid(pid, NULL, WNOHANG));
    kill(pid, SIGKILL);
    reap(pid);
}

CASE(fork_in_a_thread)
{
    pthread_t thread;
    pthread_create(&thread, NULL, waits, NULL);
    CHILD IS(syscall(SYS_gettid) == getpid()); pthread_mutex_lock(&lock); say("one thread here"); REAPED
}

CASE(detached_and_many)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 65536);
    sem_init(&semaphore, 0, 0);
    pthread_barrier_init(&barrier, NULL, 1);
    pthread_t thread;
    for (int i = 0; i < 40; i++) R(pthread_create(&thread, &attributes, meets, NULL));
    for (int i = 0; i < 40; i++) sem_wait(&semaphore);
    say("all 40 came");
}

static void *computes(void *argument)
{
    double sum = 0;
    for (int i = 1; i < 2000000; i++) sum += 1.0 / i;
    *(double *)argument = sum;
    return NULL;
}

CASE(computing_in_parallel)
{
    pthread_t threads[4];
    double sums[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, computes, &sums[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    say("%.9f %d", sums[0], sums[0] == sums[1] && sums[1] == sums[2] && sums[2] == sums[3]);
}
