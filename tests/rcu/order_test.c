/* Sorting pointers by address. */
#include "rcu/order.h"

#include <stdlib.h>

#include "support.h"

enum { MOST = 5000 };

static void *pointers[MOST];
static void *other[MOST];

static void check(size_t n, uint64_t seed, uintptr_t mask)
{
    uintptr_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uintptr_t value = (uintptr_t)random_next(&seed) & mask;
        pointers[i] = (void *)value;
        sum += value * (value | 1);
    }
    void **sorted = wr_rcu_order(pointers, other, n);
    assert_true(sorted == pointers || sorted == other);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || (uintptr_t)sorted[i - 1] <= (uintptr_t)sorted[i]);
        sum -= (uintptr_t)sorted[i] * ((uintptr_t)sorted[i] | 1);
    }
    assert_int_equal(sum, 0);
}

static void test_order_sorts_any_addresses_and_loses_none(void **state)
{
    (void)state;
    static const uintptr_t masks[] = {
        0, 0xff0, 0xfffff0, ~(uintptr_t)0, 0xff000000ff0, (uintptr_t)0xf << 60};
    uint64_t seed = test_seed();
    for (size_t n = 0; n < MOST; n = n * 3 / 2 + 1) {
        for (unsigned m = 0; m < COUNT_OF(masks); m++) {
            check(n, seed + n, masks[m]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_sorts_any_addresses_and_loses_none),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
