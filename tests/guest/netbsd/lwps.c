/* LWPs: making them from a context, numbers, waiting, parking and unparking, suspending, names, private pointers, control blocks. */
#include "nb.h"

#define STACK 65536
enum { DETACHED = 0x40, SUSPENDED = 0x80 };

static volatile int started, finished, parked_result = -1, ids[8];
static volatile word private_seen, flag;
static volatile int order;

static void end(void)
{
    CALL0(SYS_lwp_exit);
    for (;;) ;
}

/* An LWP on a stack of its own, which begins at `start`. */
static struct result make(void (*start)(void), int flags, int *lid)
{
    struct ucontext uc;
    CALL1(SYS_getcontext, &uc);
    word *top = (word *)((char *)fresh(STACK) + STACK) - 2;
    top[-1] = (word)end;
    uc.reg[RSP] = (word)(top - 1);
    uc.reg[RIP] = (word)start;
    return CALL3(SYS_lwp_create, &uc, flags, lid);
}

static void body(void) { ids[started] = (int)CALL0(SYS_lwp_self).value; started++; finished++; end(); }

static void parker(void)
{
    started++;
    struct result r = CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0);
    parked_result = r.carry ? (int)r.value : 0;
    finished++;
    end();
}

static void twice(void)
{
    started++;
    struct result first = CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0), second;
    struct timespec soon = {0, 1000000};
    second = CALL6(SYS_lwp_park, 3, 0, &soon, 0, 0, 0);
    parked_result = (first.carry ? (int)first.value : 0) * 1000 + (second.carry ? (int)second.value : 0);
    finished++;
    end();
}

static void sleeper(void) { started++; while (!flag) nap(500000); finished++; end(); }

static void private_pointer(void)
{
    static word block[2] = {0x1234, 0};
    CALL1(SYS_lwp_setprivate, block);
    __asm__ volatile("mov %%fs:0, %0" : "=r"(private_seen));
    finished++;
    end();
}

static void until(volatile int *what, int value) { for (int i = 0; *what < value && i < 20000; i++) nap(100000); }

static void reset(void) { started = finished = 0; parked_result = -1; flag = 0; }

static void making(void)
{
    int one = 0, two = 0, departed = 0;
    CHECK(gave(CALL0(SYS_lwp_self), 1));
    reset();
    CHECK(gave(make(body, 0, &one), 0) && one == 2);
    until(&finished, 1);
    CHECK(ids[0] == 2);
    CHECK(gave(CALL2(SYS_lwp_wait, one, &departed), 0) && departed == one);
    CHECK(failed(CALL2(SYS_lwp_wait, one, &departed), ESRCH));
    CHECK(gave(make(body, 0, &two), 0) && two == 3);
    CHECK(gave(CALL2(SYS_lwp_wait, 0, &departed), 0) && departed == two);
    CHECK(failed(CALL2(SYS_lwp_wait, 0, &departed), ESRCH));
    CHECK(failed(CALL2(SYS_lwp_wait, 1, &departed), EDEADLK));
    CHECK(failed(CALL2(SYS_lwp_wait, 99, &departed), ESRCH));
    struct ucontext bad;
    CALL1(SYS_getcontext, &bad);
    bad.reg[CS] = 3;
    CHECK(failed(CALL3(SYS_lwp_create, &bad, 0, &one), EINVAL));
    bad.flags = 0;
    CHECK(failed(CALL3(SYS_lwp_create, &bad, 0, &one), EINVAL));
    CHECK(failed(CALL3(SYS_lwp_create, 8, 0, &one), EFAULT));
    CALL1(SYS_getcontext, &bad);
    CHECK(failed(CALL3(SYS_lwp_create, &bad, 0, 8), EFAULT));
}

static void detaching(void)
{
    int lid, departed;
    reset();
    CHECK(gave(make(sleeper, DETACHED, &lid), 0));
    until(&started, 1);
    CHECK(failed(CALL2(SYS_lwp_wait, lid, &departed), EINVAL));
    CHECK(failed(CALL1(SYS_lwp_detach, lid), EINVAL));
    flag = 1;
    until(&finished, 1);
    CHECK(failed(CALL1(SYS_lwp_detach, 99), ESRCH));
    CHECK(failed(CALL2(SYS_lwp_kill, 99, SIGTERM), ESRCH));
    CHECK(failed(CALL2(SYS_lwp_kill, 1, 64), EINVAL));
    CHECK(gave(CALL2(SYS_lwp_kill, 1, 0), 0));
}

static void parking(void)
{
    int lid, departed;
    struct timespec soon = {0, 2000000}, past = {1, 0}, wrong = {0, 1000000000};
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, &soon, 0, 0, 0), ETIMEDOUT));
    CHECK(failed(CALL6(SYS_lwp_park, 0, 1, &past, 0, 0, 0), ETIMEDOUT));
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, &wrong, 0, 0, 0), EINVAL));
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, &soon, 99, 0, 0), ESRCH));
    CHECK(failed(CALL2(SYS_lwp_unpark, 99, 0), ESRCH));
    /* An unpark before the park is remembered, once. */
    CHECK(gave(CALL2(SYS_lwp_unpark, 1, 0), 0) && gave(CALL2(SYS_lwp_unpark, 1, 0), 0));
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0), EALREADY));
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, &soon, 0, 0, 0), ETIMEDOUT));
    reset();
    make(parker, 0, &lid);
    until(&started, 1);
    nap(5000000);
    CHECK(finished == 0);
    CHECK(gave(CALL2(SYS_lwp_unpark, lid, 0), 0));
    CHECK(gave(CALL2(SYS_lwp_wait, lid, &departed), 0) && parked_result == 0);
    reset();
    make(twice, 0, &lid);
    until(&started, 1);
    nap(2000000);
    CALL2(SYS_lwp_unpark, lid, 0);
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(parked_result == ETIMEDOUT);
    /* Unpark and park in one call. */
    reset();
    make(parker, 0, &lid);
    until(&started, 1);
    CHECK(failed(CALL6(SYS_lwp_park, 3, 0, &soon, lid, 0, 0), ETIMEDOUT));
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(parked_result == 0 || parked_result == EALREADY);
    CHECK(gave(CALL3(SYS_lwp_unpark_all, 0, 0, 0), 1024));
    int all[3];
    reset();
    for (int i = 0; i < 3; i++) make(parker, 0, &all[i]);
    until(&started, 3);
    CHECK(gave(CALL3(SYS_lwp_unpark_all, all, 3, 0), 3));
    for (int i = 0; i < 3; i++) CALL2(SYS_lwp_wait, all[i], &departed);
    CHECK(finished == 3);
    CHECK(failed(CALL3(SYS_lwp_unpark_all, all, 1025, 0), EINVAL));
}

static volatile int handled;
static void on_signal(int signo) { handled = signo; }

static void interrupted(void)
{
    int lid, departed;
    reset();
    handle(SIGUSR1, on_signal, SA_RESTART);
    make(parker, 0, &lid);
    until(&started, 1);
    nap(2000000);
    CHECK(gave(CALL2(SYS_lwp_kill, lid, SIGUSR1), 0));
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(parked_result == EINTR && handled == SIGUSR1);
}

static void suspending(void)
{
    int lid, departed;
    reset();
    CHECK(gave(make(body, SUSPENDED, &lid), 0));
    nap(3000000);
    CHECK(finished == 0);
    CHECK(gave(CALL1(SYS_lwp_continue, lid), 0));
    CHECK(gave(CALL2(SYS_lwp_wait, lid, &departed), 0) && finished == 1);
    CHECK(failed(CALL1(SYS_lwp_suspend, 1), EDEADLK));
    reset();
    make(sleeper, 0, &lid);
    until(&started, 1);
    CHECK(gave(CALL1(SYS_lwp_suspend, lid), 0));
    nap(2000000);
    flag = 1;
    nap(5000000);
    CHECK(finished == 0);
    CHECK(gave(CALL1(SYS_lwp_continue, lid), 0));
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(finished == 1);
}

static void belongings(void)
{
    int lid, departed;
    static word mine[2] = {0x77, 0};
    char name[32];
    CHECK(gave(CALL1(SYS_lwp_setprivate, mine), 0) && gave(CALL0(SYS_lwp_getprivate), (word)mine));
    reset();
    make(private_pointer, 0, &lid);
    CALL2(SYS_lwp_wait, lid, &departed);
    word again;
    __asm__ volatile("mov %%fs:0, %0" : "=r"(again));
    CHECK(private_seen == 0x1234 && again == 0x77);
    CHECK(gave(CALL2(SYS_lwp_setname, 1, "first"), 0));
    CHECK(gave(CALL3(SYS_lwp_getname, 1, name, 32), 0) && same(name, "first"));
    CHECK(gave(CALL3(SYS_lwp_getname, 1, name, 3), 0) && same(name, "fi"));
    CHECK(failed(CALL2(SYS_lwp_setname, 99, "x"), ESRCH));
    struct { int cpu, count; } *control = NULL;
    CHECK(gave(CALL2(SYS_lwp_ctl, 1, &control), 0) && control && control->cpu == 0);
    CHECK(failed(CALL2(SYS_lwp_ctl, 64, &control), ENODEV));
    int policy, priority = 9;
    CHECK(gave(CALL4(SYS_sched_getparam, 0, 1, &policy, &priority), 0) && policy == 0 && priority == 0);
    CHECK(failed(CALL4(SYS_sched_setparam, 0, 99, 0, &priority), ESRCH));
    CHECK(gave(CALL0(SYS_sched_yield), 0));
}

/* Two LWPs hand a token to and fro: a lost wake-up would hang them. */
static volatile int token, first_lid = 1, second_lid, rounds;
static void ponger(void)
{
    for (int i = 0; i < 300; i++) {
        while (!token) CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0);
        token = 0;
        CALL2(SYS_lwp_unpark, first_lid, 0);
    }
    end();
}

static void pingpong(void)
{
    int lid, departed;
    make(ponger, 0, &lid);
    second_lid = lid;
    for (rounds = 0; rounds < 300; rounds++) {
        token = 1;
        CALL2(SYS_lwp_unpark, lid, 0);
        while (token) CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0);
    }
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(rounds == 300 && departed == lid);
}

/* Where a thread runs is told to those who would wait for it: nowhere while it is parked, and once it has ended. */
static struct { volatile int cpu, count; } *volatile watched;
static void told(void)
{
    CALL2(SYS_lwp_ctl, 1, &watched);
    CALL6(SYS_lwp_park, 3, 0, 0, 0, 0, 0);
    token = watched->cpu == 0 ? 7 : 8;
    end();
}

static void whereabouts(void)
{
    int lid, departed;
    watched = NULL, token = 0;
    make(told, 0, &lid);
    for (int i = 0; i < 1000 && !(watched && watched->cpu == -1); i++) nap(1000000);
    CHECK(watched && watched->cpu == -1);
    CALL2(SYS_lwp_unpark, lid, 0);
    CALL2(SYS_lwp_wait, lid, &departed);
    CHECK(token == 7 && watched->cpu == -2);
}

static const struct { const char *name; void (*run)(void); } table[] = {
    {"making", making}, {"detaching", detaching}, {"parking", parking}, {"interrupted", interrupted}, {"suspending", suspending},
    {"belongings", belongings}, {"pingpong", pingpong}, {"whereabouts", whereabouts},
};

static int cases(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (argc < 2 || same(argv[1], table[i].name)) table[i].run();
    return 0;
}
