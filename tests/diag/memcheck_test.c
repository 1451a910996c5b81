/* Announcements are nothing to a program that runs by itself; what they are to memcheck is in
 * tests/death/memcheck.sh. */
#include "diag/memcheck.h"

#include <string.h>

#include "support.h"

static void test_announcements_change_nothing_without_memcheck(void **state)
{
    (void)state;
    char bytes[128];
    memset(bytes, 7, sizeof bytes);
    assert_false(wr_memcheck_is_there());
    wr_memcheck_allocated((uintptr_t)bytes + 32, 64, true);
    wr_memcheck_freed((uintptr_t)bytes + 32);
    wr_memcheck_returned((uintptr_t)bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        assert_int_equal(bytes[i], 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announcements_change_nothing_without_memcheck),
    };
    return cmocka_run_group_tests_name("memcheck", tests, NULL, NULL);
}
