/* Sampled guard pages: each kind of fault is told with its block; sampled blocks are blocks like
 * others, also when sized frees take them round through caches; the former handler follows. Each
 * case is this program again, with an environment. */
#include "diag/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crew.h"
#include "support.h"

#include "weir/weir.h"

static void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* A sampled block of 64 bytes at the begin or the end of its page. */
static char *sampled(bool at_end)
{
    for (unsigned i = 0; i < 100000; i++) {
        char *p = hide(weir_malloc(64));
        CHECK(p != NULL);
        if (wr_guard_owns(p) && ((uintptr_t)p % 4096 != 0) == at_end) {
            return p;
        }
        weir_free(p);
    }
    CHECK(false);
    return NULL;
}

/* ---- faults ---- */

static void touch(const char *text, char *p, long offset, bool is_write)
{
    char line[300];
    int length = snprintf(line, sizeof line,
                          "weir: SIGSEGV: %s: %p, block of 64 bytes, %s at "
                          "offset %ld\n",
                          text, (void *)p, is_write ? "written" : "read", offset);
    CHECK(length > 0 && write(STDERR_FILENO, line, (size_t)length) == length);
    volatile char *place = (char *)hide(p) + offset;
    if (is_write) {
        *place = 1;
    } else {
        (void)*place;
    }
}

static void reads_past_the_end(void)
{
    touch("overrun", sampled(true), 64, false);
}

static void writes_past_the_end(void)
{
    touch("overrun", sampled(true), 100, true);
}

static void writes_before_the_begin(void)
{
    touch("underrun", sampled(false), -1, true);
}

static void reads_after_free(void)
{
    char *p = sampled(true);
    weir_free(p);
    touch("use after free", p, 5, false);
}

static void writes_after_realloc(void)
{
    char *p = sampled(false);
    CHECK(hide(weir_realloc(p, 5000)) != NULL);
    touch("use after free", p, 0, true);
}

static void handle(int signal)
{
    static const char text[] = "handled\n";
    CHECK(write(STDERR_FILENO, text, strlen(text)) > 0);
    _exit(signal == SIGSEGV ? 77 : 1);
}

static void handle_with_place(int signal, siginfo_t *info, void *context)
{
    CHECK(info->si_addr != NULL && context != NULL);
    handle(signal);
}

/* The program's handler is there first: sampling begins again. */
static void install(void (*with_place)(int, siginfo_t *, void *))
{
    struct sigaction mine = {.sa_handler = handle};
    if (with_place != NULL) {
        mine = (struct sigaction){.sa_sigaction = with_place, .sa_flags = SA_SIGINFO};
    }
    CHECK(sigaction(SIGSEGV, &mine, NULL) == 0);
    wr_guard_start();
}

static void calls_the_former_handler(void)
{
    install(NULL);
    touch("overrun", sampled(true), 64, true);
}

static void calls_the_former_handler_with_place(void)
{
    install(handle_with_place);
    touch("overrun", sampled(true), 64, true);
}

/* A fault of the program's own elsewhere. */
static void leaves_other_faults_alone(void)
{
    install(NULL);
    *(volatile char *)hide((void *)8) = 1;
}

/* ---- frees ---- */

static void expect(const char *what, const void *p, const char *rest)
{
    char line[300];
    int length =
        snprintf(line, sizeof line, "weir: free(): %s: %p, block of 64 bytes%s\n", what, p, rest);
    CHECK(length > 0 && write(STDERR_FILENO, line, (size_t)length) == length);
}

static void frees_twice(void)
{
    char *p = sampled(true);
    weir_free(p);
    expect("double free", p, "");
    weir_free(hide(p));
}

static void frees_within(void)
{
    char *p = sampled(true);
    expect("not a block start", p + 8, " at offset 8");
    weir_free(hide(p + 8));
}

static void writes_beside_within_the_page(void)
{
    char *p = sampled(true);
    *(volatile char *)(p - 3) = 1;
    expect("underrun", p, ", written at offset -3");
    weir_free(p);
}

static void writes_behind_within_the_page(void)
{
    char *p = sampled(false);
    *(volatile char *)(p + 70) = 1;
    expect("overrun", p, ", written at offset 70");
    weir_free(p);
}

/* ---- no misuse ---- */

static void work(unsigned number, uint64_t *random)
{
    for (unsigned i = 0; i < TEST_SCALE(100000, 10000); i++) {
        size_t bytes = 1 + random_next(random) % 5000;
        unsigned kind = (unsigned)(random_next(random) % 4);
        char *p = kind == 0 ? weir_calloc(1, bytes) : weir_malloc(bytes);
        CHECK(p != NULL && (kind != 0 || all_zero(p, bytes)));
        pattern_fill(p, bytes, number);
        CHECK(weir_owns(p) && weir_malloc_usable_size(p) >= bytes);
        if (kind == 1) {
            p = weir_realloc(p, bytes * 2);
            CHECK(pattern_holds(p, bytes, number));
            bytes *= 2;
            pattern_fill(p, bytes, number);
        }
        CHECK(pattern_holds(p, bytes, number));
        if (kind == 2) {
            void *batch[] = {p, weir_aligned_alloc(256, bytes)};
            CHECK(is_aligned(batch[1], 256));
            weir_free_batch(2, batch);
        } else if (kind == 3) {
            weir_free_sized(p, bytes);
        } else {
            weir_free(p);
        }
    }
}

static void serves_threads(void)
{
    crew_run(4, 0, work);
    CHECK(weir_heap_check(0) == 0);
}

static void resizes_in_place_within_the_class(void)
{
    char *p = sampled(true);
    CHECK(weir_resize_in_place(p, 50) && weir_resize_in_place(p, 64));
    CHECK(!weir_resize_in_place(p, 65));
    weir_free(p);
}

static void goes_on_after_fork(void)
{
    char *p = sampled(true);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint64_t random = 1;
        weir_free(p);
        work(0, &random);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    weir_free(p);
}

static void samples_one_in_so_many(void)
{
    enum { CALLS = 2000000 };
    unsigned found = 0;
    void *held[100] = {0};
    for (unsigned i = 0; i < CALLS; i++) {
        weir_free(held[i % 100]);
        held[i % 100] = hide(weir_malloc(40));
        found += wr_guard_owns(held[i % 100]);
    }
    CHECK(found > 0 && found < CALLS / 100); /* one in 1000, where a call is seen at all */
}

static void is_off_unasked(void)
{
    CHECK(!wr_guard_is_on() && !wr_guard_owns(hide(weir_malloc(10))));
}

enum ends { CLEANLY, BY_FAULT, BY_ABORT, HANDLED };

static const struct guard_case {
    const char *name;
    void (*run)(void);
    const char *setting;
    enum ends ends;
} cases[] = {
#define CASE(name, ends)                                                                           \
    {                                                                                              \
#name, name, "WEIR_GUARD_SAMPLE=1", ends                                                   \
    }
    CASE(reads_past_the_end, BY_FAULT),
    CASE(writes_past_the_end, BY_FAULT),
    CASE(writes_before_the_begin, BY_FAULT),
    CASE(reads_after_free, BY_FAULT),
    CASE(writes_after_realloc, BY_FAULT),
    CASE(calls_the_former_handler, HANDLED),
    CASE(calls_the_former_handler_with_place, HANDLED),
    CASE(frees_twice, BY_ABORT),
    CASE(frees_within, BY_ABORT),
    CASE(writes_beside_within_the_page, BY_ABORT),
    CASE(writes_behind_within_the_page, BY_ABORT),
    CASE(serves_threads, CLEANLY),
    CASE(resizes_in_place_within_the_class, CLEANLY),
    CASE(goes_on_after_fork, CLEANLY),
#undef CASE
    {"samples_one_in_so_many", samples_one_in_so_many, "WEIR_GUARD_SAMPLE=1000", CLEANLY},
    {"is_off_unasked", is_off_unasked, NULL, CLEANLY},
};

static void run(const char *name, const char *setting, struct outcome *outcome)
{
    char program[] = "guard_test";
    char *const arguments[] = {program, (char *)(uintptr_t)name, NULL};
    char *const environment[] = {(char *)(uintptr_t) "TSAN_OPTIONS=die_after_fork=0",
                                 (char *)(uintptr_t)setting, NULL};
    run_program("/proc/self/exe", arguments, environment, outcome);
}

static void test_case_ends_as_it_should(void **state)
{
    const struct guard_case *guard_case = *state;
    struct outcome outcome;
    run(guard_case->name, guard_case->setting, &outcome);
    if (guard_case->ends == CLEANLY) {
        assert_clean_exit(&outcome);
        return;
    }
    /* The first line says what the others begin with. */
    const char *end = strchr(outcome.text, '\n');
    assert_non_null(end);
    size_t length = (size_t)(end - outcome.text) + 1;
    if (strncmp(end + 1, outcome.text, length) != 0) {
        fail_msg("expected \"%.*s\", got \"%s\"", (int)length, outcome.text, end + 1);
    }
    assert_non_null(strstr(outcome.text, "\nweir:   called by #0 0x"));
    assert_non_null(strstr(outcome.text, "\nweir:   allocated by #0 0x"));
    if (guard_case->ends == HANDLED) {
        assert_non_null(strstr(outcome.text, "\nhandled\n"));
        assert_int_equal(outcome.exit_code, 77);
    } else if (guard_case->ends == BY_ABORT) {
        assert_int_equal(outcome.signal, SIGABRT);
    } else {
        assert_true(outcome.signal == SIGSEGV || outcome.exit_code > 0); /* a sanitizer's way */
    }
}

static void test_other_faults_go_to_the_program(void **state)
{
    (void)state;
    struct outcome outcome;
    run("leaves_other_faults_alone", "WEIR_GUARD_SAMPLE=1", &outcome);
    assert_string_equal(outcome.text, "handled\n");
    assert_int_equal(outcome.exit_code, 77);
}

int main(int count, char **arguments)
{
    enum { CASES = COUNT_OF(cases) };
    struct CMUnitTest tests[CASES + 1];
    for (size_t i = 0; i < CASES; i++) {
        if (count == 2 && strcmp(cases[i].name, arguments[1]) == 0) {
            cases[i].run();
            return 0;
        }
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = test_case_ends_as_it_should,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    if (count == 2) {
        leaves_other_faults_alone();
        return 2;
    }
    tests[CASES] = (struct CMUnitTest)cmocka_unit_test(test_other_faults_go_to_the_program);
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
