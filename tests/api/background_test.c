/* The thread that gives memory back while the program sleeps, as the program and its user see it:
 * each case is this program again, with an environment. None of them may hang: a process that is
 * not over in time is killed, which is a failure.
 */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "family.h"

#define PATIENCE_S 120
#define NAME       "weir purger"

/* ---- what the kernel says, without a call of the family ---- */

/* The number of the thread of that name, or 0. */
static int purger_id(void)
{
    char name[64];
    char text[64];
    int ids[THREADS_MOST];
    unsigned count = list_threads(ids);
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(name, sizeof name, "task/%d/comm", ids[i]);
        if (read_proc(name, text, sizeof text) && strcmp(text, NAME "\n") == 0) {
            return ids[i];
        }
    }
    return 0;
}

static bool is_there(void)
{
    return purger_id() != 0;
}

static size_t resident_kib(void)
{
#ifdef TEST_SHADOW
    return weir_committed() / KIB; /* the shadow of memory that went stays */
#endif
    char text[4096];
    unsigned long kib = 0;
    CHECK(read_proc("smaps_rollup", text, sizeof text));
    const char *line = strstr(text, "\nRss:");
    CHECK(line != NULL && sscanf(line, "\nRss: %lu", &kib) == 1);
    return kib;
}

static void pause_briefly(void)
{
    struct timespec pause = {0, 5000000};
    nanosleep(&pause, NULL);
}

static void wait_until(bool (*is_so)(void))
{
    for (time_t end = time(NULL) + PATIENCE_S; !is_so();) {
        CHECK(time(NULL) < end);
        pause_briefly();
    }
}

/* ---- what the program does ---- */

/* Calls of all kinds; 8 MiB at a time. */
static void work(void)
{
    enum { OBJECTS = 79, ROUNDS = 20 };
    void *objects[OBJECTS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            size_t size = i % 2 == 0 ? 100 * KIB : 200 * KIB;
            CHECK((objects[i] = t_malloc(size)) != NULL);
            memset(objects[i], 1, size);
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            t_free(objects[i]);
        }
    }
}

static void *be_second(void *turn)
{
    t_free(t_malloc(100));
    pthread_barrier_wait(turn);
    pthread_barrier_wait(turn);
    return NULL;
}

static pthread_barrier_t turn;
static pthread_t second;

static void start_second(void)
{
    CHECK(pthread_barrier_init(&turn, NULL, 2) == 0);
    CHECK(pthread_create(&second, NULL, be_second, &turn) == 0);
    pthread_barrier_wait(&turn);
}

static void end_second(void)
{
    pthread_barrier_wait(&turn);
    CHECK(pthread_join(second, NULL) == 0);
}

/* ---- start ---- */

static void none_in_one_thread(void)
{
    for (unsigned i = 0; i < 10; i++) {
        work();
    }
    CHECK(!is_there());
}

static void one_beside_two_threads(void)
{
    start_second();
    work();
    wait_until(is_there);
    end_second();
}

static void none_if_told_so(void)
{
    start_second();
    for (unsigned i = 0; i < 10; i++) {
        work();
    }
    CHECK(!is_there());
    end_second();
}

static void one_in_one_thread_if_told_so(void)
{
    work();
    wait_until(is_there);
}

/* All but those that no thread can block, and two of libc's own. */
static void blocks_all_signals(void)
{
    work();
    wait_until(is_there);
    char name[64];
    char text[4096];
    unsigned long long blocked = 0;
    (void)snprintf(name, sizeof name, "task/%d/status", purger_id());
    CHECK(read_proc(name, text, sizeof text));
    const char *line = strstr(text, "\nSigBlk:");
    CHECK(line != NULL && sscanf(line, "\nSigBlk: %llx", &blocked) == 1);
    for (int number = 1; number <= SIGRTMAX; number++) {
        bool cannot = number == SIGKILL || number == SIGSTOP || (number > 31 && number < SIGRTMIN);
        CHECK(cannot || (blocked >> (number - 1) & 1) != 0);
    }
    sigset_t ours;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &ours) == 0);
    CHECK(sigismember(&ours, SIGUSR1) == 0); /* as it was */
}

/* A limit on the user's processes holds for who is not root. */
static void goes_without_if_refused(void)
{
    struct rlimit none = {0, 0};
    CHECK(getuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
    for (unsigned i = 0; i < 10; i++) {
        work();
    }
    CHECK(!is_there());
    _exit(0);
}

/* ---- shrinking ---- */

#define MUCH_KIB (64 * 1024u)

static size_t start_kib;

static bool has_shrunk(void)
{
    return resident_kib() < start_kib + MUCH_KIB / 4;
}

/* Small blocks by another thread too, large ones and mappings: then no call more. */
static void *use_much(void *unused)
{
    enum { SMALL = 50000, LARGE = 100 };
    static void *small[2][SMALL];
    static void *large[2][LARGE];
    unsigned which = unused != NULL;
    for (unsigned i = 0; i < SMALL; i++) {
        CHECK((small[which][i] = t_malloc(400)) != NULL);
        memset(small[which][i], 1, 400);
    }
    for (unsigned i = 0; i < LARGE; i++) {
        size_t size = i % 2 == 0 ? 64 * KIB : 300 * KIB;
        CHECK((large[which][i] = t_malloc(size)) != NULL);
        memset(large[which][i], 1, size);
    }
    CHECK(unused == NULL || resident_kib() > start_kib + MUCH_KIB / 4);
    for (unsigned i = 0; i < SMALL; i++) {
        t_free(small[which][i]);
    }
    for (unsigned i = 0; i < LARGE; i++) {
        t_free(large[which][i]);
    }
    return NULL;
}

static void idle_process_shrinks(void)
{
    start_second();
    start_kib = resident_kib();
    (void)use_much(&start_kib);
    CHECK(pthread_create(&second, NULL, use_much, NULL) == 0);
    CHECK(pthread_join(second, NULL) == 0);
    wait_until(has_shrunk);
    _exit(0);
}

/* ---- fork ---- */

static void child_has_its_own(void)
{
    work();
    wait_until(is_there);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(!is_there());
        start_kib = resident_kib();
        (void)use_much(&start_kib);
        wait_until(is_there);
        wait_until(has_shrunk);
        exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_there());
}

/* A fork of a process of one thread is not followed. The child's thread has another number than its
 * cache knows; the purger, which looks for threads that are no more, must not take the cache away.
 */
static void child_of_one_thread_keeps_its_cache(void)
{
    enum { LOOKS = 200 };
    work();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        start_second();
        work();
        wait_until(is_there);
        end_second();
        for (unsigned i = 0; i < LOOKS; i++) {
            weir_stats stats;
            CHECK(weir_stats_get(&stats, sizeof stats) == 0 && stats.caches_in_use == 1);
            pause_briefly();
        }
        CHECK(is_there());
        exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* ---- the end ---- */

static void work_at_exit(void)
{
    work();
}

static void exits_at_work(void)
{
    CHECK(atexit(work_at_exit) == 0);
    start_second();
    work();
    exit(0); /* with a second thread, and much that has just been freed */
}

static void *work_in_thread(void *unused)
{
    work();
    exit(0);
    return unused;
}

static void exits_from_another_thread(void)
{
    CHECK(pthread_create(&second, NULL, work_in_thread, NULL) == 0);
    for (;;) {
        work();
    }
}

#ifndef TEST_SHADOW
/* ThreadSanitizer has a thread of its own, which keeps any process whose first thread ends so. */
static void *work_and_end(void *unused)
{
    work();
    return unused;
}

/* The process ends with its last thread; the purger does not count. */
static void ends_with_its_threads(void)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work_and_end, NULL) == 0);
    }
    work();
    pthread_exit(NULL);
}

/* Has a cache, so that the purger stays for it when the first thread has ended. */
static void *wait_and_end(void *unused)
{
    t_free(t_malloc(100));
    pthread_barrier_wait(&turn);
    wait_until(is_there);
    return unused;
}

static void ends_with_its_threads_when_the_purger_is_there(void)
{
    CHECK(pthread_barrier_init(&turn, NULL, 2) == 0);
    CHECK(pthread_create(&second, NULL, wait_and_end, NULL) == 0);
    pthread_barrier_wait(&turn);
    work();
    pthread_exit(NULL);
}
#endif

/* ---- cases ---- */

static const struct background_case {
    const char *name;
    void (*run)(void);
    const char *environment[2];
    unsigned times;
} cases[] = {
    {"none_in_one_thread", none_in_one_thread, {NULL}, 1},
    {"one_beside_two_threads", one_beside_two_threads, {NULL}, 1},
    {"one_beside_two_threads", one_beside_two_threads, {"WEIR_BACKGROUND=auto"}, 1},
    {"none_if_told_so", none_if_told_so, {"WEIR_BACKGROUND=0"}, 1},
    {"none_if_told_so", none_if_told_so, {"WEIR_BACKGROUND=1", "WEIR_DECAY=0"}, 1},
    {"one_in_one_thread_if_told_so", one_in_one_thread_if_told_so, {"WEIR_BACKGROUND=1"}, 1},
    {"blocks_all_signals", blocks_all_signals, {"WEIR_BACKGROUND=1"}, 1},
    {"goes_without_if_refused", goes_without_if_refused, {"WEIR_BACKGROUND=1"}, 1},
    {"idle_process_shrinks", idle_process_shrinks, {"WEIR_DECAY=100"}, 1},
    {"idle_process_shrinks", idle_process_shrinks, {NULL}, 1},
    {"child_has_its_own", child_has_its_own, {"WEIR_BACKGROUND=1", "WEIR_DECAY=100"}, 1},
    {"child_of_one_thread_keeps_its_cache",
     child_of_one_thread_keeps_its_cache,
     {"WEIR_DECAY=100"},
     1},
    {"exits_at_work", exits_at_work, {"WEIR_BACKGROUND=1", "WEIR_DECAY=1"}, 10},
    {"exits_at_work", exits_at_work, {"WEIR_DECAY=20"}, 10},
    {"exits_from_another_thread", exits_from_another_thread, {"WEIR_DECAY=1"}, 10},
#ifndef TEST_SHADOW
    {"ends_with_its_threads", ends_with_its_threads, {"WEIR_BACKGROUND=1", "WEIR_DECAY=1"}, 10},
    {"ends_with_its_threads", ends_with_its_threads, {NULL}, 10},
    {"ends_with_its_threads_when_the_purger_is_there",
     ends_with_its_threads_when_the_purger_is_there,
     {"WEIR_BACKGROUND=1"},
     3},
#endif
};

/* Whether the process left by 0, and in time. */
static void run_once(const struct background_case *background_case)
{
    char program[] = "background_test";
    char *const arguments[] = {program, (char *)(uintptr_t)background_case->name, NULL};
    /* Sanitizers mind threads in children of a fork, and look for leaks of a malloc of their own.
     */
    char *const environment[] = {"TSAN_OPTIONS=die_after_fork=0", "ASAN_OPTIONS=detect_leaks=0",
                                 (char *)(uintptr_t)background_case->environment[0],
                                 (char *)(uintptr_t)background_case->environment[1], NULL};
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execve("/proc/self/exe", arguments, environment);
        _exit(127);
    }
    int status = 0;
    pid_t done;
    time_t end = time(NULL) + 2 * PATIENCE_S;
    while ((done = waitpid(child, &status, WNOHANG)) == 0) {
        if (time(NULL) > end) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            fail_msg("%s has not ended", background_case->name);
        }
        pause_briefly();
    }
    assert_int_equal(done, child);
    assert_int_equal(status, 0);
}

static void test_purger_in_a_process_of_its_own(void **unused)
{
    const struct background_case *background_case = *unused;
    for (unsigned i = 0; i < background_case->times; i++) {
        run_once(background_case);
    }
}

static int run_case(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (strcmp(cases[i].name, name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    return 2;
}

int main(int count, char **arguments)
{
    if (count == 2) {
        return run_case(arguments[1]);
    }
    struct CMUnitTest tests[COUNT_OF(cases)];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = test_purger_in_a_process_of_its_own,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
