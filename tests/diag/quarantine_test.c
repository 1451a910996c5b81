/* The quarantine: blocks come out in order, each once, when there are too many bytes or blocks. */
#include "diag/quarantine.h"

#include "base/atomic.h"
#include "base/config.h"
#include "base/options.h"
#include "crew.h"
#include "support.h"

enum { BYTES = 100 };

static _Atomic size_t released;
static _Atomic uintptr_t last_released;

static size_t release(uintptr_t block)
{
    (void)wr_fetch_add_relaxed(&released, 1);
    wr_store_relaxed(&last_released, block);
    return BYTES;
}

static int empty(void **state)
{
    (void)state;
    (void)wr_quarantine_drain(release);
    wr_store_relaxed(&released, 0);
    return 0;
}

static void set_bytes(const char *setting)
{
    char *const environment[] = {(char *)(uintptr_t)setting, NULL};
    wr_options_parse(environment);
}

static void test_blocks_wait_while_there_is_room(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=1000");
    for (uintptr_t i = 1; i <= 10; i++) {
        wr_quarantine_push(i, BYTES, release);
    }
    assert_int_equal(wr_load_relaxed(&released), 0);
    assert_int_equal(wr_quarantine_bytes(), 10 * BYTES);
}

static void test_oldest_block_leaves_for_bytes(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=1000");
    for (uintptr_t i = 1; i <= 100; i++) {
        wr_quarantine_push(i, BYTES, release);
        assert_int_equal(wr_load_relaxed(&released), i <= 10 ? 0 : i - 10);
        assert_true(i <= 10 || wr_load_relaxed(&last_released) == i - 10);
    }
}

static void test_oldest_block_leaves_for_places(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=1T");
    for (uintptr_t i = 1; i <= WR_QUARANTINE_BLOCKS + 10; i++) {
        wr_quarantine_push(i, BYTES, release);
    }
    assert_int_equal(wr_load_relaxed(&released), 10);
    assert_int_equal(wr_load_relaxed(&last_released), 10);
}

static void test_nothing_waits_without_bytes(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=0");
    wr_quarantine_push(7, BYTES, release);
    assert_int_equal(wr_load_relaxed(&released), 1);
    assert_int_equal(wr_quarantine_bytes(), 0);
}

static void test_drain_takes_all(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=1T");
    for (uintptr_t i = 1; i <= 5; i++) {
        wr_quarantine_push(i, BYTES, release);
    }
    assert_int_equal(wr_quarantine_drain(release), 5);
    assert_int_equal(wr_load_relaxed(&released), 5);
    assert_int_equal(wr_quarantine_bytes(), 0);
    assert_int_equal(wr_quarantine_drain(release), 0);
}

enum { EACH = 20000, THREADS = 4 };
static _Atomic uint8_t out[THREADS * EACH + 1];

static size_t mark(uintptr_t block)
{
    CHECK(wr_exchange_acq_rel(&out[block], 1) == 0);
    return BYTES;
}

static void push_many(unsigned number, uint64_t *random)
{
    (void)random;
    for (uintptr_t i = 1; i <= EACH; i++) {
        wr_quarantine_push(number * EACH + i, BYTES, mark);
    }
}

static void test_each_block_of_many_threads_comes_out_once(void **state)
{
    (void)state;
    set_bytes("WEIR_CHECK_QUARANTINE=100000");
    crew_run(THREADS, 0, push_many);
    (void)wr_quarantine_drain(mark);
    for (size_t i = 1; i <= THREADS * EACH; i++) {
        assert_int_equal(wr_load_relaxed(&out[i]), 1);
    }
    assert_int_equal(wr_quarantine_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_blocks_wait_while_there_is_room, empty),
        cmocka_unit_test_setup(test_oldest_block_leaves_for_bytes, empty),
        cmocka_unit_test_setup(test_oldest_block_leaves_for_places, empty),
        cmocka_unit_test_setup(test_nothing_waits_without_bytes, empty),
        cmocka_unit_test_setup(test_drain_takes_all, empty),
        cmocka_unit_test_setup(test_each_block_of_many_threads_comes_out_once, empty),
    };
    return cmocka_run_group_tests_name("quarantine", tests, NULL, NULL);
}
