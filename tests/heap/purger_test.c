/* The purger: when it is started, parked, woken and stopped. Each case runs in a process of its
 * own, with an environment: this program again, with the case's name. Time can be put forward, and
 * threads refused. What a program sees of it is in tests/api/background_test.c.
 */
#include "heap/purger.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "cache/park.h"
#include "cache/stack.h"
#include "heap/keep.h"
#include "os/thread.h"
#include "os/vm.h"
#include "page/slice.h"
#include "support.h"

#include "weir/weir.h"

/* ---- time and threads ---- */

static _Atomic uint64_t put_forward_ms;

uint64_t __real_wr_host_milliseconds(void);
uint64_t __wrap_wr_host_milliseconds(void);

uint64_t __wrap_wr_host_milliseconds(void)
{
    return __real_wr_host_milliseconds() + wr_load_relaxed(&put_forward_ms);
}

static void put_forward(uint64_t ms)
{
    (void)wr_fetch_add_relaxed(&put_forward_ms, ms);
}

static _Atomic unsigned starts; /* that were tried */
static unsigned refusals;       /* so many are refused */
static void (*before_start)(void);

bool __real_wr_thread_start(void *(*body)(void *), const char *name, pthread_t *thread);
bool __wrap_wr_thread_start(void *(*body)(void *), const char *name, pthread_t *thread);

bool __wrap_wr_thread_start(void *(*body)(void *), const char *name, pthread_t *thread)
{
    if (before_start != NULL) {
        before_start();
    }
    if (wr_fetch_add_relaxed(&starts, 1) < refusals) {
        return false;
    }
    return __real_wr_thread_start(body, name, thread);
}

static uint32_t state(void)
{
    return wr_load_relaxed(&wr_purger_word);
}

/* Looks again and again, while the wrapped clock goes faster than the other. */
static void wait_until(bool (*is_so)(void), uint64_t forward_ms)
{
    enum { PATIENCE_S = 120 };
    for (time_t end = time(NULL) + PATIENCE_S; !is_so();) {
        CHECK(time(NULL) < end);
        put_forward(forward_ms);
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
}

static bool is_there(void)
{
    return wr_purger_is_there();
}

static bool is_none(void)
{
    return state() == WR_PURGER_NONE;
}

static bool is_off(void)
{
    return state() == WR_PURGER_OFF;
}

static bool is_parked(void)
{
    return state() == WR_PURGER_PARKED;
}

static bool is_clean(void)
{
    return wr_slice_dirty_count() == 0 && wr_keep_bytes() == 0;
}

/* ---- what the program does ---- */

/* Maps enough, and makes slow calls: an odd number in a row, so that ticks fall on allocations too.
 */
static void work(void)
{
    enum { OBJECTS = 33, ROUNDS = 64 };
    void *objects[OBJECTS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            CHECK((objects[i] = weir_calloc(1, 100 * KIB)) != NULL);
            memset(objects[i], 1, 100 * KIB);
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            weir_free(objects[i]);
        }
    }
    CHECK(wr_vm_mapped_bytes() >= WR_PURGER_MIN_BYTES);
}

static pthread_barrier_t turn;

static void *be_second(void *unused)
{
    weir_free(weir_malloc(64));
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    return unused;
}

static pthread_t start_second(void)
{
    pthread_t thread;
    CHECK(pthread_barrier_init(&turn, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, be_second, NULL) == 0);
    pthread_barrier_wait(&turn);
    CHECK(wr_park_living() >= 1);
    return thread;
}

static void end_second(pthread_t thread)
{
    pthread_barrier_wait(&turn);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void start_purger(void)
{
    work();
    CHECK(state() > WR_PURGER_WANTED);
    wait_until(is_there, 0);
}

/* A thread of the process of which a file in /proc says so, or 0. */
static int find_thread(const char *name, bool (*says)(const char *text))
{
    char path[64];
    char text[256];
    int ids[THREADS_MOST];
    unsigned count = list_threads(ids);
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "task/%d/%s", ids[i], name);
        if (read_proc(path, text, sizeof text) && says(text)) {
            return ids[i];
        }
    }
    return 0;
}

/* ---- start ---- */

static void stays_away_from_one_thread(void)
{
    work();
    CHECK(wr_load_relaxed(&starts) == 0 && is_none());
}

static void starts_with_a_second_thread(void)
{
    pthread_t second = start_second();
    unsigned caches = wr_cache_count();
    start_purger();
    CHECK(wr_load_relaxed(&starts) == 1);
    CHECK(wr_cache_count() <= caches + 1); /* it has none; ours may be new */
    work();
    CHECK(wr_load_relaxed(&starts) == 1);
    end_second(second);
}

static void stays_away_if_told_so(void)
{
    pthread_t second = start_second();
    work();
    wr_purger_look(true, true);
    CHECK(wr_load_relaxed(&starts) == 0 && is_none());
    end_second(second);
}

static void starts_in_one_thread_if_told_so(void)
{
    start_purger();
}

static void stays_away_without_decay(void)
{
    stays_away_if_told_so();
}

static void waits_for_memory_to_watch(void)
{
    CHECK(wr_vm_mapped_bytes() < WR_PURGER_MIN_BYTES);
    for (unsigned i = 0; i < 100; i++) {
        wr_purger_look(true, true);
    }
    CHECK(wr_load_relaxed(&starts) == 0);
    void *object = weir_malloc(WR_PURGER_MIN_BYTES);
    CHECK(object != NULL);
    wr_purger_look(true, false); /* as in a free */
    CHECK(wr_load_relaxed(&starts) == 0 && state() == WR_PURGER_WANTED);
    wr_purger_poke(true, false);
    wr_purger_poke(false, false);
    CHECK(wr_load_relaxed(&starts) == 0 && state() == WR_PURGER_WANTED);
    wr_purger_poke(false, true); /* the next that allocates */
    CHECK(wr_load_relaxed(&starts) == 1);
    wait_until(is_there, 0);
    weir_free(object);
}

static void is_tried_again_when_refused(void)
{
    refusals = 2;
    errno = ERRNO_UNUSED;
    work();
    work();
    CHECK(wr_load_relaxed(&starts) >= 1 && !wr_purger_is_there());
    unsigned before = wr_load_relaxed(&starts);
    wr_purger_look(true, true);
    CHECK(wr_load_relaxed(&starts) <= before + 1);
    refusals = before + 2;
    for (unsigned i = 0; state() <= WR_PURGER_WANTED; i++) {
        CHECK(i < 10);
        put_forward(1000);
        wr_purger_look(true, true);
    }
    wait_until(is_there, 0);
    CHECK(errno == ERRNO_UNUSED);
}

/* ---- park and wake ---- */

/* Of a thread's call in the kernel. */
static bool says_wait_for_word(const char *text)
{
    unsigned long call = 0;
    unsigned long word = 0;
    return sscanf(text, "%lu 0x%lx", &call, &word) == 2 && call == SYS_futex &&
           word == (uintptr_t)&wr_purger_word;
}

static bool waits_for_word(void)
{
    return find_thread("syscall", says_wait_for_word) != 0;
}

static void parks_and_is_woken(void)
{
    start_purger();
    for (unsigned round = 0; round < 3; round++) {
        wait_until(is_parked, 50);
        CHECK(is_clean());
        wait_until(waits_for_word, 0);
        put_forward(3600000); /* time alone wakes nobody */
        CHECK(is_parked());
        void *object = weir_calloc(1, 100 * KIB);
        CHECK(object != NULL && !is_parked());
        weir_free(object);
        wait_until(is_clean, 50);
    }
}

static void is_not_disturbed_while_awake(void)
{
    start_purger();
    wait_until(is_parked, 50);
    wr_purger_poke(false, false);
    CHECK(state() == WR_PURGER_AWAKE || is_parked());
    wait_until(is_parked, 50);
    wr_purger_poke(true, false);
    wait_until(is_parked, 50);
}

static wr_cache *second_cache;

static unsigned second_length(void)
{
    return wr_stack_length(second_cache, wr_size_class_of(64));
}

static bool is_swept(void)
{
    return second_length() <= 1;
}

static void *fill_and_sleep(void *unused)
{
    void *blocks[200];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        CHECK((blocks[i] = weir_malloc(64)) != NULL);
    }
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        weir_free(blocks[i]);
    }
    second_cache = wr_cache_self;
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    return unused;
}

static void sweeps_idle_caches(void)
{
    pthread_t second;
    CHECK(pthread_barrier_init(&turn, NULL, 2) == 0);
    CHECK(pthread_create(&second, NULL, fill_and_sleep, NULL) == 0);
    pthread_barrier_wait(&turn);
    CHECK(second_length() > 1);
    start_purger();
    wait_until(is_swept, 50);
    end_second(second);
}

/* ---- stop ---- */

static void stops(void)
{
    start_purger();
    wr_purger_stop(false);
    CHECK(is_none());
    wr_purger_stop(false);
    CHECK(is_none());
    put_forward(1000);
    start_purger(); /* and can be started again */
    wait_until(is_parked, 50);
    wr_purger_stop(false);
    CHECK(is_none());
    put_forward(1000);
    start_purger();
    wr_purger_stop(true);
    CHECK(is_off());
    put_forward(1000);
    work();
    wr_purger_stop(false);
    wr_purger_stop(true);
    CHECK(is_off() && wr_load_relaxed(&starts) == 3);
}

static void stop_for_good(void)
{
    wr_purger_stop(true);
}

static bool says_purger(const char *text)
{
    return strcmp(text, "weir purger\n") == 0;
}

static bool is_gone(void)
{
    return find_thread("comm", says_purger) == 0;
}

/* Its thread is being made when the process begins to end. */
static void stops_before_it_has_begun(void)
{
    before_start = stop_for_good;
    work();
    CHECK(wr_load_relaxed(&starts) == 1 && is_off());
    wait_until(is_gone, 0);
}

static void stops_before_it_is_refused(void)
{
    before_start = stop_for_good;
    refusals = 1;
    work();
    CHECK(wr_load_relaxed(&starts) == 1 && is_off());
}

/* The last thread is over before the purger has been awake: it ends by itself. */
static void stop_as_last_thread(void)
{
    wr_purger_stop(false);
    CHECK(state() == WR_PURGER_STARTING);
}

static void outlives_a_stop_before_it_has_begun(void)
{
    before_start = stop_as_last_thread;
    start_purger();
}

static void is_gone_in_a_child(void)
{
    start_purger();
    wait_until(is_parked, 50);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(is_none());
        wr_purger_stop(false);
        start_purger(); /* at once, whenever the parent's was started */
        wait_until(is_parked, 50);
        wr_purger_stop(true);
        CHECK(is_off());
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_there());
}

/* ---- the end of the process ---- */

static bool is_checked_at_end;

/* After all destructors, weir's included. */
static void check_at_end(void)
{
    if (is_checked_at_end && !(is_off() && is_gone())) {
        _exit(3);
    }
}

__attribute__((section(".fini_array.00050"),
               used)) static void (*const at_end)(void) = check_at_end;

static void work_at_exit(void)
{
    CHECK(is_there());
    work();
}

static void is_gone_at_exit(void)
{
    is_checked_at_end = true;
    CHECK(atexit(work_at_exit) == 0);
    start_purger();
}

static void is_gone_at_exit_from_its_sleep(void)
{
    is_checked_at_end = true;
    start_purger();
    wait_until(is_parked, 50);
}

/* ---- cases ---- */

static const struct purger_case {
    const char *name;
    void (*run)(void);
    const char *environment[2];
} cases[] = {
    {"stays_away_from_one_thread", stays_away_from_one_thread, {NULL}},
    {"starts_with_a_second_thread", starts_with_a_second_thread, {NULL}},
    {"starts_with_a_second_thread", starts_with_a_second_thread, {"WEIR_BACKGROUND=auto"}},
    {"stays_away_if_told_so", stays_away_if_told_so, {"WEIR_BACKGROUND=0"}},
    {"starts_in_one_thread_if_told_so", starts_in_one_thread_if_told_so, {"WEIR_BACKGROUND=1"}},
    {"stays_away_without_decay", stays_away_without_decay, {"WEIR_DECAY=0", "WEIR_BACKGROUND=1"}},
    {"waits_for_memory_to_watch", waits_for_memory_to_watch, {"WEIR_BACKGROUND=1"}},
    {"is_tried_again_when_refused", is_tried_again_when_refused, {"WEIR_BACKGROUND=1"}},
    {"parks_and_is_woken", parks_and_is_woken, {"WEIR_BACKGROUND=1"}},
    {"is_not_disturbed_while_awake", is_not_disturbed_while_awake, {"WEIR_BACKGROUND=1"}},
    {"sweeps_idle_caches", sweeps_idle_caches, {"WEIR_BACKGROUND=1"}},
    {"stops", stops, {"WEIR_BACKGROUND=1"}},
    {"stops_before_it_has_begun", stops_before_it_has_begun, {"WEIR_BACKGROUND=1"}},
    {"stops_before_it_is_refused", stops_before_it_is_refused, {"WEIR_BACKGROUND=1"}},
    {"outlives_a_stop_before_it_has_begun",
     outlives_a_stop_before_it_has_begun,
     {"WEIR_BACKGROUND=1"}},
    {"is_gone_in_a_child", is_gone_in_a_child, {"WEIR_BACKGROUND=1"}},
    {"is_gone_at_exit", is_gone_at_exit, {"WEIR_BACKGROUND=1"}},
    {"is_gone_at_exit_from_its_sleep", is_gone_at_exit_from_its_sleep, {"WEIR_BACKGROUND=1"}},
};

static void test_purger_in_a_process_of_its_own(void **unused)
{
    const struct purger_case *purger_case = *unused;
    char program[] = "purger_test";
    char *const arguments[] = {program, (char *)(uintptr_t)purger_case->name, NULL};
    /* ThreadSanitizer's runtime minds threads in children of a fork. */
    char *const environment[] = {"TSAN_OPTIONS=die_after_fork=0",
                                 (char *)(uintptr_t)purger_case->environment[0],
                                 (char *)(uintptr_t)purger_case->environment[1], NULL};
    struct outcome outcome;
    run_program("/proc/self/exe", arguments, environment, &outcome);
    assert_clean_exit(&outcome);
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
    return cmocka_run_group_tests_name("purger", tests, NULL, NULL);
}
