/* os/barrier: what it asks of the kernel, what it answers where the kernel refuses, and the order
 * that it makes, by the litmus test that it is for.
 *
 * This program's own syscall stands between weir and libc's, so that a case can have membarrier
 * calls refused one by one; a seccomp filter refuses them all in a child, as a container may. */
#include "os/barrier.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/config.h"
#include "crew.h"
#include "own_syscall.h"
#include "support.h"

#define BARRIER_ROUNDS TEST_SCALE(20000, 3000)
#define PAUSE_MAX      64 /* empty turns of a loop */

/* A list of the calls that are to come: each a membarrier with this command, and the error that it
 * gets, 0 for none. Calls beyond it go to the kernel. */
struct answer {
    int command;
    int error;
};

static const struct answer *script;
static unsigned script_length;
static unsigned script_done;

static long own_syscall(long number, const long *a)
{
    if (number == SYS_membarrier && script_done < script_length) {
        const struct answer *answer = &script[script_done++];
        CHECK(a[0] == answer->command && (int)a[1] == 0);
        errno = answer->error != 0 ? answer->error : errno;
        return answer->error != 0 ? -1 : 0;
    }
    return pass_syscall_on(number, a);
}

#define BARRIER  MEMBARRIER_CMD_PRIVATE_EXPEDITED
#define REGISTER MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED

/* The calls are those of the list, in its order, and no more. */
static void check_script(const struct answer *answers, unsigned length, bool expected)
{
    struct answer list[8]; /* one more call would be seen, too */
    CHECK(length < COUNT_OF(list));
    for (unsigned i = 0; i < length; i++) {
        list[i] = answers[i];
    }
    list[length] = (struct answer){-1, ENOSYS};
    script = list;
    script_done = 0;
    script_length = length + 1;
    errno = ERRNO_UNUSED;
    bool done = wr_barrier_all();
    int error = errno;
    script_length = 0;
    assert_int_equal(done, expected);
    assert_int_equal(error, ERRNO_UNUSED);
    assert_int_equal(script_done, length);
}

static void test_barrier_is_made_and_keeps_errno(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        errno = ERRNO_UNUSED;
        assert_true(wr_barrier_all());
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_barrier_of_a_registered_process_is_one_call(void **state)
{
    (void)state;
    static const struct answer answers[] = {{BARRIER, 0}};
    check_script(answers, COUNT_OF(answers), true);
}

static void test_barrier_of_a_new_process_registers_first(void **state)
{
    (void)state;
    static const struct answer answers[] = {{BARRIER, EPERM}, {REGISTER, 0}, {BARRIER, 0}};
    check_script(answers, COUNT_OF(answers), true);
}

static void test_barrier_registration_refused_is_false(void **state)
{
    (void)state;
    static const struct answer answers[] = {{BARRIER, EPERM}, {REGISTER, EINVAL}};
    check_script(answers, COUNT_OF(answers), false);
}

static void test_barrier_refused_after_registration_is_false(void **state)
{
    (void)state;
    static const struct answer answers[] = {{BARRIER, EPERM}, {REGISTER, 0}, {BARRIER, EPERM}};
    check_script(answers, COUNT_OF(answers), false);
}

static void test_barrier_that_the_kernel_does_not_know_is_false(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EINVAL, ENOMEM};
    for (unsigned i = 0; i < COUNT_OF(errors); i++) {
        struct answer answers[] = {{BARRIER, errors[i]}};
        check_script(answers, COUNT_OF(answers), false);
    }
}

static void use_in_child(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 3; i++) {
        errno = ERRNO_UNUSED;
        CHECK(wr_barrier_all());
        CHECK(errno == ERRNO_UNUSED);
    }
}

static void test_barrier_in_a_forked_child_is_made(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(use_in_child, NULL, &outcome);
    assert_clean_exit(&outcome);
    assert_true(wr_barrier_all());
}

/* From here on membarrier fails with an error in this process. */
static void refuse_membarrier(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {(unsigned short)COUNT_OF(filter), filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void use_refused(void *error)
{
    refuse_membarrier(*(int *)error);
    for (unsigned i = 0; i < 3; i++) {
        errno = ERRNO_UNUSED;
        CHECK(!wr_barrier_all());
        CHECK(errno == ERRNO_UNUSED);
    }
}

static void test_barrier_where_a_filter_refuses_it_is_false(void **state)
{
    (void)state;
    static int errors[] = {ENOSYS, EPERM};
    for (unsigned i = 0; i < COUNT_OF(errors); i++) {
        struct outcome outcome;
        run_child(use_refused, &errors[i], &outcome);
        assert_clean_exit(&outcome);
    }
    assert_true(wr_barrier_all());
}

/* ---- litmus ----
 *     frequent: x = 1; compiler fence; read y      rare: y = 1; wr_barrier_all(); read x
 * At least one of the two reads 1. Fresh words on lines of their own in each round, and a start as
 * close as spinning makes it. */
enum { FREQUENT, RARE };

static struct {
    _Alignas(WR_CACHE_LINE_BYTES) _Atomic uint32_t x;
    _Alignas(WR_CACHE_LINE_BYTES) _Atomic uint32_t y;
} * words;
static uint32_t (*reads)[2];      /* by round and thread */
static _Atomic uint32_t arrivals; /* at the start of rounds, by both */

static void meet(unsigned round)
{
    (void)wr_fetch_add_seq_cst(&arrivals, 1);
    for (unsigned i = 1; wr_load_acquire(&arrivals) < 2 * (round + 1); i++) {
        if (i % 1024 == 0) {
            sched_yield();
        }
    }
}

static void pause_for(uint64_t turns)
{
    for (uint64_t i = 0; i < turns; i++) {
        wr_fence_compiler();
    }
}

/* The two threads on two processors, where the process may use two: on one they take turns, and
 * none can miss what the other did. Without a barrier most rounds then end with two misses. */
static void stay_apart(unsigned number)
{
    cpu_set_t all;
    cpu_set_t own;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    unsigned skipped = number % (unsigned)CPU_COUNT(&all);
    size_t cpu = 0;
    for (; !CPU_ISSET(cpu, &all) || skipped > 0; cpu++) {
        skipped -= CPU_ISSET(cpu, &all) != 0;
    }
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    CHECK(sched_setaffinity(0, sizeof own, &own) == 0);
}

static void run_litmus(unsigned number, uint64_t *random)
{
    stay_apart(number);
    for (unsigned round = 0; round < BARRIER_ROUNDS; round++) {
        uint64_t turns = random_next(random) % PAUSE_MAX;
        meet(round);
        pause_for(turns);
        /* Relaxed: the barrier under test is all the order there is. */
        if (number == FREQUENT) {
            wr_store_relaxed(&words[round].x, 1);
            wr_fence_compiler();
            reads[round][FREQUENT] = wr_load_relaxed(&words[round].y);
        } else {
            wr_store_relaxed(&words[round].y, 1);
            CHECK(wr_barrier_all());
            reads[round][RARE] = wr_load_relaxed(&words[round].x);
        }
    }
}

static void test_litmus_of_a_fence_and_a_barrier_one_sees_the_other(void **state)
{
    (void)state;
    words = aligned_alloc(WR_CACHE_LINE_BYTES, BARRIER_ROUNDS * sizeof *words);
    reads = calloc(BARRIER_ROUNDS, sizeof *reads);
    assert_non_null(words);
    assert_non_null(reads);
    memset((void *)words, 0, BARRIER_ROUNDS * sizeof *words);
    wr_store_relaxed(&arrivals, 0);
    crew_run(2, test_seed(), run_litmus);
    unsigned seen_by[2] = {0, 0};
    for (unsigned round = 0; round < BARRIER_ROUNDS; round++) {
        assert_true(reads[round][FREQUENT] == 1 || reads[round][RARE] == 1);
        seen_by[FREQUENT] += reads[round][FREQUENT];
        seen_by[RARE] += reads[round][RARE];
    }
    assert_true(seen_by[FREQUENT] + seen_by[RARE] >= BARRIER_ROUNDS);
    free((void *)words);
    free(reads);
}

/* What a thread does after the barrier sees what others stored before it: the rare side ends a
 * use of plain memory that the frequent side makes without an order of its own. */
static _Atomic uint32_t in_use;  /* the frequent side is inside */
static _Atomic uint32_t closing; /* the rare side wants it to stay outside */
static _Atomic uint32_t value;   /* 0 while nobody is to see another */
static _Atomic uint32_t is_over;

static void enter_and_close(unsigned number, uint64_t *random)
{
    stay_apart(number);
    for (unsigned round = 0; number == RARE && round < BARRIER_ROUNDS; round++) {
        wr_store_relaxed(&closing, 1);
        CHECK(wr_barrier_all());
        while (wr_load_acquire(&in_use) != 0) {
            sched_yield();
        }
        wr_store_relaxed(&value, 1); /* alone here */
        pause_for(random_next(random) % PAUSE_MAX);
        wr_store_relaxed(&value, 0);
        wr_store_release(&closing, 0);
    }
    while (number == FREQUENT && wr_load_relaxed(&is_over) == 0) {
        wr_store_relaxed(&in_use, 1);
        wr_fence_compiler();
        if (wr_load_acquire(&closing) == 0) {
            CHECK(wr_load_relaxed(&value) == 0);
        }
        wr_store_release(&in_use, 0);
    }
    wr_store_relaxed(&is_over, 1);
}

static void test_litmus_who_closes_by_a_barrier_is_alone(void **state)
{
    (void)state;
    wr_store_relaxed(&is_over, 0);
    crew_run(2, test_seed(), enter_and_close);
    assert_int_equal(wr_load_relaxed(&in_use), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barrier_is_made_and_keeps_errno),
        cmocka_unit_test(test_barrier_of_a_registered_process_is_one_call),
        cmocka_unit_test(test_barrier_of_a_new_process_registers_first),
        cmocka_unit_test(test_barrier_registration_refused_is_false),
        cmocka_unit_test(test_barrier_refused_after_registration_is_false),
        cmocka_unit_test(test_barrier_that_the_kernel_does_not_know_is_false),
        cmocka_unit_test(test_barrier_in_a_forked_child_is_made),
        cmocka_unit_test(test_barrier_where_a_filter_refuses_it_is_false),
        cmocka_unit_test(test_litmus_of_a_fence_and_a_barrier_one_sees_the_other),
        cmocka_unit_test(test_litmus_who_closes_by_a_barrier_is_alone),
    };
    return cmocka_run_group_tests_name("barrier", tests, NULL, NULL);
}
