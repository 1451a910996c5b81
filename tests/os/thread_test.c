/* os/thread: what a thread of the library's own is like, what its start leaves as it was, and what
 * happens when there can be none.
 *
 * This program's own pthread_attr_setstacksize stands between weir and libc's, so that a case can
 * have the small stack refused, as libc does where thread-local storage would fill it. */
#include "os/thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/config.h"
#include "crew.h"
#include "maps.h"
#include "support.h"

#define STARTERS     4
#define STARTS       TEST_SCALE(500, 100) /* of a starter */
#define SHORT_LIVED  300
#define DEADLOCK     60 /* seconds after which a thread that never comes ends the program */
#define THREAD_ERROR EBADF

typedef int set_stack_size(pthread_attr_t *attributes, size_t bytes);

static set_stack_size *libc_set_stack_size;
static _Atomic bool refuses_small_stack;
static _Atomic uint32_t small_stacks; /* asked for */

__attribute__((constructor)) static void find_libc_function(void)
{
    libc_set_stack_size = (set_stack_size *)dlsym(RTLD_NEXT, "pthread_attr_setstacksize");
    CHECK(libc_set_stack_size != NULL);
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes)
{
    if (bytes == WR_THREAD_STACK_BYTES) {
        (void)wr_fetch_add_relaxed(&small_stacks, 1);
        if (wr_load_relaxed(&refuses_small_stack)) {
            return EINVAL;
        }
    }
    return libc_set_stack_size(attributes, bytes);
}

static int watch_for_deadlock(void **state)
{
    (void)state;
    (void)alarm(DEADLOCK);
    return 0;
}

/* ---- one thread, that shows itself and stays until it is told ---- */

enum { NOT_YET, IS_THERE, MAY_LOOK, HAS_LOOKED, MAY_END };

static struct {
    _Atomic int stage;
    int id;
    int error;
    bool argument_is_null;
    bool is_detached;
    sigset_t mask;
    char name[32];
} shown;

static void await_stage(int stage)
{
    while (wr_load_acquire(&shown.stage) != stage) {
        sched_yield();
    }
}

static void *show(void *argument)
{
    pthread_attr_t attributes;
    int detach_state = -1;
    shown.id = (int)syscall(SYS_gettid);
    shown.argument_is_null = argument == NULL;
    wr_store_release(&shown.stage, IS_THERE);
    await_stage(MAY_LOOK); /* its name comes from the thread that started it */
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &shown.mask) == 0);
    CHECK(pthread_getname_np(pthread_self(), shown.name, sizeof shown.name) == 0);
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getdetachstate(&attributes, &detach_state) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    shown.is_detached = detach_state == PTHREAD_CREATE_DETACHED;
    wr_store_release(&shown.stage, HAS_LOOKED);
    await_stage(MAY_END);
    return NULL;
}

static bool is_alive(int thread_id)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d", thread_id);
    return access(path, F_OK) == 0;
}

static void await_end(int thread_id)
{
    while (is_alive(thread_id)) {
        sched_yield();
    }
}

static pthread_t started;

/* Starts it and lets it look; it is still there on return. */
static void start_to_look(const char *name)
{
    wr_store_release(&shown.stage, NOT_YET);
    errno = ERRNO_UNUSED;
    bool done = wr_thread_start(show, name, &started);
    CHECK(errno == ERRNO_UNUSED);
    CHECK(done);
    await_stage(IS_THERE);
    wr_store_release(&shown.stage, MAY_LOOK);
    await_stage(HAS_LOOKED);
}

static void let_end(void)
{
    int id = shown.id;
    CHECK(wr_thread_exists(id));
    wr_store_release(&shown.stage, MAY_END);
    wr_thread_join(started);
    await_end(id);
    CHECK(!wr_thread_exists(id));
}

static bool masks_are_equal(const sigset_t *a, const sigset_t *b)
{
    bool equal = true;
    for (int s = 1; s <= SIGRTMAX; s++) {
        equal = equal && sigismember(a, s) == sigismember(b, s);
    }
    return equal;
}

static void test_start_runs_the_body_in_another_thread_without_argument(void **state)
{
    (void)state;
    start_to_look("a thread");
    assert_int_not_equal(shown.id, (int)syscall(SYS_gettid));
    assert_true(shown.argument_is_null);
    assert_true(is_alive(shown.id));
    let_end();
}

static void test_start_gives_the_name(void **state)
{
    (void)state;
    static const char *const names[] = {"weir purger", "x", "fifteen letters"};
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        start_to_look(names[i]);
        assert_string_equal(shown.name, names[i]);
        let_end();
    }
}

static void test_start_makes_it_joinable(void **state)
{
    (void)state;
    start_to_look("a thread");
    assert_false(shown.is_detached);
    let_end();
}

static void *check_number(void *unused)
{
    errno = ERRNO_UNUSED;
    CHECK(wr_thread_number() == (int)syscall(SYS_gettid));
    CHECK(wr_thread_exists(wr_thread_number()));
    CHECK(!wr_thread_exists(INT_MAX));
    CHECK(errno == ERRNO_UNUSED);
    return unused;
}

static void check_number_of_child(void *unused)
{
    CHECK(getpid() == (int)syscall(SYS_gettid));
    (void)check_number(unused);
}

static void test_number_is_that_of_the_system(void **state)
{
    (void)state;
    pthread_t thread;
    struct outcome outcome;
    (void)check_number(NULL);
    assert_int_equal(pthread_create(&thread, NULL, check_number, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    run_child(check_number_of_child, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* In a thread that is bound to one CPU. */
static void *start_from_one_processor(void *there)
{
    cpu_set_t all;
    cpu_set_t one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
        }
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    start_to_look("a thread");
    CHECK(sched_getaffinity(shown.id, sizeof(cpu_set_t), there) == 0);
    let_end();
    return NULL;
}

static void test_start_does_not_inherit_the_processors_of_the_caller(void **state)
{
    (void)state;
    pthread_t caller;
    cpu_set_t all;
    cpu_set_t there;
    assert_int_equal(pthread_create(&caller, NULL, start_from_one_processor, &there), 0);
    assert_int_equal(pthread_join(caller, NULL), 0);
    assert_int_equal(sched_getaffinity(getpid(), sizeof all, &all), 0);
    assert_true(CPU_EQUAL(&there, &all));
}

static void test_start_blocks_every_signal_there_and_none_here(void **state)
{
    (void)state;
    sigset_t all;
    sigset_t some;
    sigset_t old;
    sigset_t after;
    assert_int_equal(sigfillset(&all), 0);
    assert_int_equal(sigdelset(&all, SIGKILL), 0); /* these two cannot be blocked */
    assert_int_equal(sigdelset(&all, SIGSTOP), 0);
    assert_int_equal(sigemptyset(&some), 0);
    assert_int_equal(sigaddset(&some, SIGUSR1), 0);
    assert_int_equal(sigaddset(&some, SIGRTMIN + 3), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &some, &old), 0);
    start_to_look("a thread");
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, &after), 0);
    assert_true(masks_are_equal(&after, &some));
    assert_true(masks_are_equal(&shown.mask, &all));
    let_end();
}

static _Atomic int handler_thread;

static void note_thread(int signal_number)
{
    (void)signal_number;
    wr_store_relaxed(&handler_thread, (int)syscall(SYS_gettid));
}

static void test_signal_to_the_process_is_not_handled_there(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = note_thread};
    struct sigaction before;
    assert_int_equal(sigaction(SIGUSR2, &action, &before), 0);
    start_to_look("a thread");
    for (unsigned i = 0; i < 100; i++) {
        wr_store_relaxed(&handler_thread, 0);
        assert_int_equal(kill(getpid(), SIGUSR2), 0);
        while (wr_load_relaxed(&handler_thread) == 0) {
            sched_yield();
        }
        assert_int_equal(wr_load_relaxed(&handler_thread), (int)syscall(SYS_gettid));
    }
    let_end();
    assert_int_equal(sigaction(SIGUSR2, &before, NULL), 0);
}

static void test_start_asks_for_a_small_stack_first(void **state)
{
    (void)state;
    wr_store_relaxed(&small_stacks, 0);
    start_to_look("a thread");
    assert_int_equal(wr_load_relaxed(&small_stacks), 1);
    let_end();
}

static void test_start_where_a_small_stack_is_refused_takes_the_default(void **state)
{
    (void)state;
    wr_store_relaxed(&small_stacks, 0);
    wr_store_relaxed(&refuses_small_stack, true);
    start_to_look("a large one");
    wr_store_relaxed(&refuses_small_stack, false);
    assert_int_equal(wr_load_relaxed(&small_stacks), 1);
    assert_string_equal(shown.name, "a large one");
    assert_false(shown.is_detached);
    let_end();
}

/* ---- threads that end at once ---- */

static _Atomic uint32_t runs;
static _Atomic int last_id;

static void *count_run(void *unused)
{
    wr_store_relaxed(&last_id, (int)syscall(SYS_gettid));
    (void)wr_fetch_add_seq_cst(&runs, 1);
    return unused;
}

static void await_runs(uint32_t count)
{
    while (wr_load_acquire(&runs) != count) {
        sched_yield();
    }
}

static void test_threads_that_end_leave_nothing_behind(void **state)
{
    (void)state;
    size_t lines = 0;
    wr_store_relaxed(&runs, 0);
    for (uint32_t i = 0; i < SHORT_LIVED; i++) {
        errno = ERRNO_UNUSED;
        assert_true(wr_thread_start(count_run, "short", &started));
        assert_int_equal(errno, ERRNO_UNUSED);
        await_runs(i + 1);
        wr_thread_join(started);
        lines = i == 10 ? maps_lines() : lines; /* the first ones leave a stack for the next */
    }
    assert_true(maps_lines() < lines + SHORT_LIVED / 2);
}

static void start_many(unsigned number, uint64_t *random)
{
    (void)number;
    (void)random;
    pthread_t threads[STARTS];
    errno = THREAD_ERROR;
    for (unsigned i = 0; i < STARTS; i++) {
        while (!wr_thread_start(count_run, "one of many", &threads[i])) {
            sched_yield(); /* too many at once for this machine */
        }
    }
    for (unsigned i = 0; i < STARTS; i++) {
        wr_thread_join(threads[i]);
    }
    CHECK(errno == THREAD_ERROR);
}

static void test_start_by_many_threads_each_body_runs_once(void **state)
{
    (void)state;
    wr_store_relaxed(&runs, 0);
    crew_run(STARTERS, 0, start_many);
    await_runs(STARTERS * STARTS);
    assert_int_equal(wr_load_acquire(&runs), STARTERS * STARTS);
}

/* ---- no thread ---- */

/* From here on the process can make no thread, as under RLIMIT_NPROC, which does not bind root. */
static void refuse_threads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {(unsigned short)COUNT_OF(filter), filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void start_refused(void *unused)
{
    (void)unused;
    sigset_t some;
    sigset_t after;
    CHECK(sigemptyset(&some) == 0 && sigaddset(&some, SIGUSR1) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &some, NULL) == 0);
    refuse_threads();
    wr_store_relaxed(&small_stacks, 0);
    wr_store_relaxed(&runs, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        errno = ERRNO_UNUSED;
        CHECK(!wr_thread_start(count_run, "never", &started));
        CHECK(errno == ERRNO_UNUSED);
        CHECK(wr_load_relaxed(&small_stacks) ==
              2 * i); /* with and without a scheduling of its own */
    }
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    CHECK(masks_are_equal(&after, &some));
    CHECK(wr_load_relaxed(&runs) == 0);
}

static void test_start_refused_is_false_and_changes_nothing(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(start_refused, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void start_in_child(void *unused)
{
    (void)unused;
    (void)alarm(DEADLOCK);
    start_to_look("in a child");
    CHECK(strcmp(shown.name, "in a child") == 0);
    let_end();
}

static void test_start_in_a_forked_child_makes_a_thread(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(start_in_child, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* ---- scheduling ---- */

static int policy_there(void)
{
    int policy = sched_getscheduler(shown.id);
    CHECK(policy >= 0);
    return policy;
}

static void start_from_a_batch_thread(void *unused)
{
    (void)unused;
    struct sched_param ordinary = {.sched_priority = 0};
    (void)alarm(DEADLOCK);
    CHECK(sched_setscheduler(0, SCHED_BATCH, &ordinary) == 0);
    start_to_look("ordinary");
    CHECK(policy_there() == SCHED_OTHER);
    CHECK(sched_getscheduler(0) == SCHED_BATCH); /* the caller's own is as it was */
    let_end();
}

static void test_start_gives_ordinary_scheduling_whatever_the_caller_has(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(start_from_a_batch_thread, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void start_where_scheduling_is_refused(void *unused)
{
    (void)unused;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setscheduler, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {(unsigned short)COUNT_OF(filter), filter};
    struct sched_param ordinary = {.sched_priority = 0};
    (void)alarm(DEADLOCK);
    CHECK(sched_setscheduler(0, SCHED_BATCH, &ordinary) == 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    start_to_look("as the caller");
    CHECK(policy_there() == SCHED_BATCH);
    CHECK(strcmp(shown.name, "as the caller") == 0);
    let_end();
}

static void test_start_where_scheduling_is_refused_takes_the_callers(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(start_where_scheduling_is_refused, NULL, &outcome);
    assert_clean_exit(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_refused_is_false_and_changes_nothing),
        cmocka_unit_test(test_start_in_a_forked_child_makes_a_thread),
        cmocka_unit_test(test_start_runs_the_body_in_another_thread_without_argument),
        cmocka_unit_test(test_start_gives_the_name),
        cmocka_unit_test(test_start_makes_it_joinable),
        cmocka_unit_test(test_number_is_that_of_the_system),
        cmocka_unit_test(test_start_does_not_inherit_the_processors_of_the_caller),
        cmocka_unit_test(test_start_blocks_every_signal_there_and_none_here),
        cmocka_unit_test(test_signal_to_the_process_is_not_handled_there),
        cmocka_unit_test(test_start_asks_for_a_small_stack_first),
        cmocka_unit_test(test_start_where_a_small_stack_is_refused_takes_the_default),
        cmocka_unit_test(test_threads_that_end_leave_nothing_behind),
        cmocka_unit_test(test_start_by_many_threads_each_body_runs_once),
        cmocka_unit_test(test_start_gives_ordinary_scheduling_whatever_the_caller_has),
        cmocka_unit_test(test_start_where_scheduling_is_refused_takes_the_callers),
    };
    return cmocka_run_group_tests_name("thread", tests, watch_for_deadlock, NULL);
}
