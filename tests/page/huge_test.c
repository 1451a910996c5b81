/* Huge pages: asked for, avoided or left alone, as the option and the system say, and as the kernel
 * shows it. Each case decides in a child of its own; the system's setting is a file that stands for
 * the real one. */
#include "page/huge.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/options.h"
#include "os/host.h"
#include "maps.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page_support.h"

static char root[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s/weir_huge_XXXXXX", P_tmpdir);
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void put_setting(const char *text)
{
    static const char *const parts[] = {"/sys", "/sys/kernel", "/sys/kernel/mm",
                                        "/sys/kernel/mm/transparent_hugepage"};
    char path[256];
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        (void)snprintf(path, sizeof path, "%s%s", root, parts[i]);
        (void)mkdir(path, 0700);
    }
    (void)snprintf(path, sizeof path, "%s%s/enabled", root, parts[3]);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void ask(void)
{
    char variable[] = "WEIR_THP=1";
    char *const environment[] = {variable, NULL};
    wr_options_parse(environment);
}

/* 3 MiB of slices: beyond what a small program has. */
static uintptr_t grow(void)
{
    bool zero;
    uintptr_t start = wr_extent_claim(48, &zero);
    CHECK(start != 0 && zero);
    start = wr_extent_claim(48, &zero);
    CHECK(start != 0 && zero);
    return start;
}

static void grow_where_always(void *unused)
{
    (void)unused;
    put_setting("[always] madvise never\n");
    wr_huge_decide(root);
    CHECK(!wr_huge_is_asked());
    uintptr_t start = grow();
    CHECK(maps_has_flag(start, "nh") && !maps_has_flag(start, "hg"));
}

static void grow_where_not_always(void *unused)
{
    (void)unused;
    put_setting("always [madvise] never\n");
    wr_huge_decide(root);
    uintptr_t start = grow();
    CHECK(!maps_has_flag(start, "nh") && !maps_has_flag(start, "hg"));
}

static void grow_where_asked(void *unused)
{
    (void)unused;
    put_setting("[always] madvise never\n");
    ask();
    wr_huge_decide(root);
    CHECK(wr_huge_is_asked());
    uintptr_t start = grow();
    CHECK(maps_has_flag(start, "hg") && !maps_has_flag(start, "nh"));
    /* All that there is begins and ends with a huge page. */
    CHECK(wr_slice_total_count() * WR_SLICE_BYTES % WR_HUGE_BYTES == 0);
    bool zero;
    uintptr_t lowest = wr_extent_claim(1, &zero);
    CHECK(lowest != 0);
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
            uint64_t bits = wr_load_relaxed(&region->slices[w].available);
            unsigned high = (unsigned)(bits >> 32);
            CHECK(high == 0 || (high & 1u << 31) != 0); /* free slices reach the end of a page */
        }
    }
}

static void advise_without_deciding(void *unused)
{
    (void)unused;
    uintptr_t start = (uintptr_t)wr_vm_map(2 * WR_HUGE_BYTES, WR_HUGE_BYTES);
    CHECK(start != 0);
    bool always = wr_host_huge_pages_always("");
    wr_huge_advise(start, 2 * WR_HUGE_BYTES);
    CHECK(maps_has_flag(start, "nh") == always);
}

static void run_case(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_growth_where_the_system_always_uses_them_is_spared(void **state)
{
    (void)state;
    run_case(grow_where_always);
}

static void test_growth_where_the_system_does_not_is_left_alone(void **state)
{
    (void)state;
    run_case(grow_where_not_always);
}

static void test_growth_where_they_are_asked_for_is_in_whole_ones(void **state)
{
    (void)state;
    run_case(grow_where_asked);
}

static void test_advice_is_decided_by_the_real_system_at_first(void **state)
{
    (void)state;
    run_case(advise_without_deciding);
}

static void test_whole_pages_of_a_word_are_its_full_halves(void **state)
{
    (void)state;
    uint64_t low = 0xffffffff;
    assert_int_equal(wr_huge_whole(0), 0);
    assert_int_equal(wr_huge_whole(~(uint64_t)0), ~(uint64_t)0);
    assert_int_equal(wr_huge_whole(low), low);
    assert_int_equal(wr_huge_whole(low << 32), low << 32);
    assert_int_equal(wr_huge_whole(~(uint64_t)1), low << 32);
    assert_int_equal(wr_huge_whole(low << 16), 0);
}

static void purge_where_asked(void *unused)
{
    (void)unused;
    ask();
    bool zero;
    uintptr_t start = wr_extent_claim(64, &zero);
    CHECK(start != 0 && start % WR_HUGE_BYTES == 0);
    size_t dirty = wr_slice_dirty_count();
    /* One huge page free as a whole, of the other a part. */
    wr_slice_release(start, 32);
    wr_slice_release(start + 40 * WR_SLICE_BYTES, 8);
    CHECK(wr_purge_slices(dirty + 8) == 32);
    CHECK(wr_slice_claim_at(start + 40 * WR_SLICE_BYTES, 8, &zero) && !zero);
    CHECK(wr_slice_claim_at(start, 32, &zero) && zero);
    /* Parts go too where that is not enough. */
    wr_slice_release(start + 40 * WR_SLICE_BYTES, 8);
    CHECK(wr_purge_slices(dirty) == 8);
}

static void test_purge_where_they_are_asked_for_takes_whole_ones_first(void **state)
{
    (void)state;
    run_case(purge_where_asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_where_the_system_always_uses_them_is_spared),
        cmocka_unit_test(test_growth_where_the_system_does_not_is_left_alone),
        cmocka_unit_test(test_growth_where_they_are_asked_for_is_in_whole_ones),
        cmocka_unit_test(test_advice_is_decided_by_the_real_system_at_first),
        cmocka_unit_test(test_whole_pages_of_a_word_are_its_full_halves),
        cmocka_unit_test(test_purge_where_they_are_asked_for_takes_whole_ones_first),
    };
    return cmocka_run_group_tests_name("huge", tests, set_up, tear_down);
}
