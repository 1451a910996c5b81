/* What each word of WEIR_HARDEN does, and that programs run as ever under each and under all. Each
 * case is this program again, with an environment. */
#include "support.h"

#include "crew.h"

#include "weir/weir.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 64, BLOCKS = 1000 };

static void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

static char *block(size_t bytes)
{
    char *p = hide(weir_malloc(bytes));
    CHECK(p != NULL);
    return p;
}

/* ---- order ---- */

static unsigned count_ascents(void)
{
    unsigned ascents = 0;
    uintptr_t last = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uintptr_t now = (uintptr_t)block(BYTES);
        ascents += now > last;
        last = now;
    }
    return ascents;
}

static void order_is_random(void)
{
    unsigned ascents = count_ascents();
    CHECK(ascents > BLOCKS / 4 && ascents < BLOCKS * 3 / 4);
}

static void order_is_ascending_unasked(void)
{
    CHECK(count_ascents() > BLOCKS * 9 / 10);
}

/* ---- guard ---- */

static void runs_out_of_a_slab(void)
{
    char *p = block(BYTES);
    for (size_t i = 0; i < 8 * (64 * KIB); i++) {
        ((volatile char *)p)[i] = 1; /* other blocks, then the fence */
    }
    CHECK(false);
}

static void slabs_come_and_go(void)
{
    static void *held[3000];
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < COUNT_OF(held); i++) {
            size_t bytes = (size_t)64 << (i + round) % 9;
            CHECK((held[i] = weir_malloc(bytes)) != NULL);
            memset(held[i], 1, bytes);
        }
        for (unsigned i = 0; i < COUNT_OF(held); i++) {
            weir_free(held[i]);
        }
        (void)weir_purge(WEIR_PURGE_ALL);
        CHECK(weir_heap_check(1) == 0);
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)weir_purge(WEIR_PURGE_ALL);
        CHECK(weir_committed() < 16 * MIB);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(weir_committed() < 16 * MIB);
}

/* ---- zero ---- */

static void freed_bytes_are_zero(void)
{
    char *p = block(BYTES);
    memset(p, 0x5a, BYTES);
    weir_free(p);
    CHECK(all_zero(hide(p), BYTES));
}

/* ---- canary ---- */

static void write_past_the_end_aborts(void)
{
    char *p = block(BYTES);
    p[BYTES] = 0;
    weir_free(p);
    CHECK(false);
}

/* ---- delay ---- */

static void freed_block_is_not_used_at_once(void)
{
    char *p = block(BYTES);
    weir_free(p);
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(block(BYTES) != p);
    }
}

static void write_to_a_freed_block_aborts(void)
{
    char *p = block(BYTES);
    weir_free(p);
    ((char *)hide(p))[5] = 1;
    CHECK(weir_heap_check(1) == 0);
}

/* ---- each and all ---- */

static void work(unsigned number, uint64_t *random)
{
    void *held[32] = {0};
    size_t bytes[32] = {0};
    for (unsigned i = 0; i < TEST_SCALE(50000, 5000); i++) {
        unsigned h = (unsigned)(random_next(random) % 32);
        if (held[h] != NULL) {
            CHECK(pattern_holds(held[h], bytes[h], number));
            weir_free_sized(held[h], bytes[h]);
        }
        bytes[h] = random_size(random, 300000);
        held[h] = weir_calloc(1, bytes[h]);
        CHECK(held[h] != NULL && all_zero(held[h], bytes[h]));
        pattern_fill(held[h], bytes[h], number);
    }
    for (unsigned h = 0; h < 32; h++) {
        weir_free(held[h]);
    }
}

static void serves_threads(void)
{
    crew_run(4, 0, work);
    CHECK(weir_heap_check(1) == 0);
}

/* How a case ends, and what it says. */
static const struct harden_case {
    const char *name;
    void (*run)(void);
    const char *setting;
    int signal;
    const char *text;
} cases[] = {
    {"order_is_random", order_is_random, "WEIR_HARDEN=order", 0, NULL},
    {"order_is_ascending_unasked", order_is_ascending_unasked, NULL, 0, NULL},
    {"runs_out_of_a_slab", runs_out_of_a_slab, "WEIR_HARDEN=guard", SIGSEGV, NULL},
    {"slabs_come_and_go", slabs_come_and_go, "WEIR_HARDEN=guard", 0, NULL},
    {"freed_bytes_are_zero", freed_bytes_are_zero, "WEIR_HARDEN=zero", 0, NULL},
    {"write_past_the_end_aborts", write_past_the_end_aborts, "WEIR_HARDEN=canary", SIGABRT,
     "weir: free(): overrun: 0x"},
    {"freed_block_is_not_used_at_once", freed_block_is_not_used_at_once, "WEIR_HARDEN=delay", 0,
     NULL},
    {"write_to_a_freed_block_aborts", write_to_a_freed_block_aborts, "WEIR_HARDEN=delay", SIGABRT,
     "weir: quarantine: use after free: 0x"},
    {"serves_threads", serves_threads, "WEIR_HARDEN=order", 0, NULL},
    {"serves_threads", serves_threads, "WEIR_HARDEN=guard", 0, NULL},
    {"serves_threads", serves_threads, "WEIR_HARDEN=zero", 0, NULL},
    {"serves_threads", serves_threads, "WEIR_HARDEN=canary", 0, NULL},
    {"serves_threads", serves_threads, "WEIR_HARDEN=delay", 0, NULL},
    {"serves_threads", serves_threads, "WEIR_HARDEN=order,guard,zero,canary,delay", 0, NULL},
};

static void test_case_ends_as_it_should(void **state)
{
    const struct harden_case *harden_case = *state;
    char program[] = "harden_test";
    char *const arguments[] = {program, (char *)(uintptr_t)harden_case->name, NULL};
    char *const environment[] = {(char *)(uintptr_t) "TSAN_OPTIONS=die_after_fork=0",
                                 (char *)(uintptr_t)harden_case->setting, NULL};
    struct outcome outcome;
    run_program("/proc/self/exe", arguments, environment, &outcome);
    if (harden_case->signal == 0) {
        assert_clean_exit(&outcome);
    } else if (harden_case->text == NULL) { /* a sanitizer has its own way with SIGSEGV */
        assert_true(outcome.signal == SIGSEGV || strstr(outcome.text, "SEGV") != NULL);
    } else {
        assert_int_equal(outcome.signal, harden_case->signal);
        assert_int_equal(strncmp(outcome.text, harden_case->text, strlen(harden_case->text)), 0);
        assert_int_equal(count_lines(outcome.text), 1); /* no stacks unasked */
    }
}

int main(int count, char **arguments)
{
    struct CMUnitTest tests[COUNT_OF(cases)];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (count == 2 && strcmp(cases[i].name, arguments[1]) == 0) {
            cases[i].run();
            return 0;
        }
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = test_case_ends_as_it_should,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    return count == 2 ? 2 : cmocka_run_group_tests_name("harden", tests, NULL, NULL);
}
