/* os/vm_mmap: alignment, contents and the count of each call, and refusals that change nothing. */
#include "maps.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/config.h"
#include "os/vm.h"

#define GIB     (KIB * MIB)
#define SLICE   WR_SLICE_BYTES
#define THREADS 4
#define ROUNDS  TEST_SCALE(2000, 200)

static size_t page;

static int find_page_size(void **state)
{
    (void)state;
    page = (size_t)sysconf(_SC_PAGESIZE);
    return 0;
}

/* True if every page of the range belongs to some mapping. */
static bool is_mapped(const void *start, size_t bytes)
{
    static unsigned char residence[4096];
    assert_true(bytes / page <= sizeof residence);
    return syscall(SYS_mincore, start, bytes, residence) == 0;
}

/* True if no page of the range belongs to any. */
static bool is_unmapped(const char *start, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += page) {
        if (is_mapped(start + at, page)) {
            return false;
        }
    }
    return true;
}

/* True if the kernel could read the byte. */
static bool is_readable(const char *byte)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bool readable = syscall(SYS_write, ends[1], byte, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return readable;
}

/* All addresses that the process has taken: the first number of /proc/self/statm. */
static size_t address_space_bytes(void)
{
    char text[256] = "";
    int file = open("/proc/self/statm", O_RDONLY);
    assert_true(file >= 0);
    assert_true(read(file, text, sizeof text - 1) > 0);
    close(file);
    return strtoul(text, NULL, 10) * page;
}

/* A mapping that must succeed, keep errno and be counted. */
static char *map(size_t bytes, size_t alignment)
{
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    char *start = wr_vm_map(bytes, alignment);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_non_null(start);
    assert_true(is_aligned(start, alignment));
    assert_int_equal(wr_vm_mapped_bytes() - before, bytes);
    return start;
}

static void unmap(void *start, size_t bytes)
{
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_true(wr_vm_unmap(start, bytes));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(before - wr_vm_mapped_bytes(), bytes);
}

static void test_map_of_any_alignment_is_aligned_zero_and_apart(void **state)
{
    (void)state;
    const size_t sizes[] = {page, SLICE, SLICE + page, MIB + page};
    char *starts[2 * COUNT_OF(sizes)];
    for (size_t alignment = page; alignment <= GIB; alignment *= 2) {
        for (size_t i = 0; i < COUNT_OF(starts); i++) {
            starts[i] = map(sizes[i / 2], alignment);
            assert_true(all_zero(starts[i], sizes[i / 2]));
            pattern_fill(starts[i], sizes[i / 2], i);
        }
        for (size_t i = 0; i < COUNT_OF(starts); i++) {
            assert_true(pattern_holds(starts[i], sizes[i / 2], i));
            unmap(starts[i], sizes[i / 2]);
        }
    }
}

static void test_map_beside_taken_addresses_is_aligned(void **state)
{
    (void)state;
    /* Each foreign page lies where the next mapping would be asked for. */
    enum { MAPPINGS = 20 };
    char *starts[MAPPINGS];
    void *foreign[MAPPINGS];
    for (size_t i = 0; i < MAPPINGS; i++) {
        starts[i] = map(2 * SLICE, SLICE);
        foreign[i] = mmap(starts[i] - page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(foreign[i], MAP_FAILED);
        pattern_fill(starts[i], 2 * SLICE, i);
    }
    for (size_t i = 0; i < MAPPINGS; i++) {
        assert_true(pattern_holds(starts[i], 2 * SLICE, i));
        assert_true(is_mapped(foreign[i], page));
        munmap(foreign[i], page);
        unmap(starts[i], 2 * SLICE);
    }
}

/* Takes the place where a mapping of `bytes` would be asked for after one at `last`. */
static void *take_next_place(const char *last, size_t bytes, size_t alignment)
{
    uintptr_t place = ((uintptr_t)last - bytes) & ~(uintptr_t)(alignment - 1);
    return mmap((void *)place, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void test_map_beside_taken_addresses_takes_what_is_asked_for_alone(void **state)
{
    (void)state;
    for (size_t alignment = page; alignment <= GIB; alignment *= 2) {
        char *last = map(page, alignment);
        void *foreign = take_next_place(last, 3 * page, alignment);
        size_t before = address_space_bytes();
        char *start = map(3 * page, alignment);
        void *other = take_next_place(start, 5 * page, alignment);
        char *place = wr_vm_reserve(5 * page, alignment);
        assert_int_equal(address_space_bytes() - before, 9 * page);
        unmap(start, 3 * page);
        wr_vm_unreserve(place, 5 * page);
        munmap(other, page);
        assert_int_equal(address_space_bytes(), before);
        munmap(foreign, page);
        unmap(last, page);
    }
}

static void test_map_beyond_the_addresses_changes_nothing(void **state)
{
    (void)state;
    const size_t sizes[] = {NEVER_THERE, TOO_LARGE, SIZE_MAX - page + 1};
    size_t before = wr_vm_mapped_bytes();
    size_t peak = wr_vm_mapped_peak_bytes();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        errno = ERRNO_UNUSED;
        assert_null(wr_vm_map(sizes[i], SLICE));
        assert_null(wr_vm_reserve(sizes[i], SLICE));
        assert_int_equal(errno, ERRNO_UNUSED);
    }
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_int_equal(wr_vm_mapped_peak_bytes(), peak);
}

static void test_map_of_impossible_alignment_changes_nothing(void **state)
{
    (void)state;
    size_t before = wr_vm_mapped_bytes();
    for (unsigned bit = 47; bit < 64; bit++) {
        errno = ERRNO_UNUSED;
        assert_null(wr_vm_map(page, (size_t)1 << bit));
        assert_int_equal(errno, ERRNO_UNUSED);
    }
    assert_int_equal(wr_vm_mapped_bytes(), before);
    unmap(map(SLICE, SLICE), SLICE); /* and the next is as good as ever */
}

static void test_unmap_gives_exactly_the_range_back(void **state)
{
    (void)state;
    char *start = map(4 * SLICE, SLICE);
    pattern_fill(start, 4 * SLICE, 1);
    unmap(start + SLICE, 2 * SLICE);
    assert_true(is_unmapped(start + SLICE, 2 * SLICE));
    assert_true(pattern_holds(start, SLICE, 1));
    assert_true(pattern_holds(start + 3 * SLICE, SLICE, 1));
    unmap(start, SLICE);
    unmap(start + 3 * SLICE, SLICE);
}

static void test_unmap_refused_changes_nothing(void **state)
{
    (void)state;
    char *start = map(SLICE, SLICE);
    pattern_fill(start, SLICE, 2);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_false(wr_vm_unmap(start + 1, page)); /* no page starts there */
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_true(pattern_holds(start, SLICE, 2));
    unmap(start, SLICE);
}

static void test_purge_zeroes_exactly_the_range(void **state)
{
    (void)state;
    char *start = map(MIB, SLICE);
    pattern_fill(start, MIB, 3);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_true(wr_vm_purge(start + SLICE, 3 * SLICE));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_true(pattern_holds(start, SLICE, 3));
    assert_true(all_zero(start + SLICE, 3 * SLICE));
    assert_true(pattern_holds(start + 4 * SLICE, MIB - 4 * SLICE, 3));
    pattern_fill(start + SLICE, 3 * SLICE, 3);
    assert_true(pattern_holds(start, MIB, 3));
    unmap(start, MIB);
}

static void test_purge_gives_the_page_frames_back(void **state)
{
    (void)state;
    static unsigned char residence[256];
    char *start = map(MIB, SLICE);
    memset(start, 1, MIB);
    assert_true(wr_vm_purge(start, MIB));
    assert_int_equal(syscall(SYS_mincore, start, MIB, residence), 0);
    for (size_t i = 0; i < MIB / page; i++) {
        assert_int_equal(residence[i] & 1, 0);
    }
    unmap(start, MIB);
}

static void test_purge_of_locked_memory_keeps_its_contents(void **state)
{
    (void)state;
    char *start = map(SLICE, SLICE);
    pattern_fill(start, SLICE, 4);
    /* Sanitizers make nothing of libc's mlock. */
    assert_int_equal(syscall(SYS_mlock, start, page), 0);
    errno = ERRNO_UNUSED;
    assert_false(wr_vm_purge(start, page));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(pattern_holds(start, SLICE, 4));
    assert_int_equal(syscall(SYS_munlock, start, page), 0);
    assert_true(wr_vm_purge(start, page));
    assert_true(all_zero(start, page));
    unmap(start, SLICE);
}

static void test_grow_into_free_addresses_keeps_contents_and_adds_zeros(void **state)
{
    (void)state;
    char *start = map(4 * SLICE, SLICE);
    unmap(start + SLICE, 3 * SLICE);
    pattern_fill(start, SLICE, 5);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_true(wr_vm_grow(start, SLICE, SLICE + page));
    assert_true(wr_vm_grow(start, SLICE + page, 4 * SLICE));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes() - before, 3 * SLICE);
    assert_true(pattern_holds(start, SLICE, 5));
    assert_true(all_zero(start + SLICE, 3 * SLICE));
    unmap(start, 4 * SLICE);
}

static void test_grow_into_taken_addresses_changes_nothing(void **state)
{
    (void)state;
    char *start = map(4 * SLICE, SLICE);
    unmap(start + SLICE, SLICE);
    pattern_fill(start, SLICE, 6);
    pattern_fill(start + 2 * SLICE, 2 * SLICE, 7);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_false(wr_vm_grow(start, SLICE, 2 * SLICE + page));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_true(pattern_holds(start, SLICE, 6));
    assert_true(pattern_holds(start + 2 * SLICE, 2 * SLICE, 7));
    assert_true(is_unmapped(start + SLICE, SLICE));
    unmap(start, SLICE);
    unmap(start + 2 * SLICE, 2 * SLICE);
}

/* Addresses that must be had, without a change of the count. */
static char *reserve(size_t bytes, size_t alignment)
{
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    char *start = wr_vm_reserve(bytes, alignment);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_non_null(start);
    assert_true(is_aligned(start, alignment));
    assert_int_equal(wr_vm_mapped_bytes(), before);
    return start;
}

static void test_reserve_of_any_alignment_is_aligned_and_taken(void **state)
{
    (void)state;
    for (size_t alignment = page; alignment <= GIB; alignment *= 2) {
        char *start = reserve(MIB, alignment);
        assert_true(is_mapped(start, MIB)); /* nobody else can get the addresses */
        wr_vm_unreserve(start, MIB);
    }
}

static void test_reserve_has_no_memory(void **state)
{
    (void)state;
    char *start = reserve(SLICE, SLICE);
    assert_false(is_readable(start));
    assert_false(is_readable(start + SLICE - 1));
    wr_vm_unreserve(start, SLICE);
}

static void test_unreserve_gives_the_addresses_back(void **state)
{
    (void)state;
    char *start = reserve(MIB, SLICE);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    wr_vm_unreserve(start, MIB);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_true(is_unmapped(start, MIB));
}

static void check_move(size_t old_bytes, size_t new_bytes)
{
    char *start = map(old_bytes, SLICE);
    pattern_fill(start, old_bytes, old_bytes);
    char *place = reserve(new_bytes, SLICE);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_true(wr_vm_move(start, old_bytes, place, new_bytes));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes() - before, new_bytes - old_bytes);
    assert_true(pattern_holds(place, old_bytes, old_bytes));
    assert_true(all_zero(place + old_bytes, new_bytes - old_bytes));
    pattern_fill(place, new_bytes, 8);
    assert_true(pattern_holds(place, new_bytes, 8));
    assert_true(is_unmapped(start, old_bytes));
    unmap(place, new_bytes);
}

static void test_move_keeps_contents_adds_zeros_and_frees_the_old_place(void **state)
{
    (void)state;
    check_move(page, page);
    check_move(SLICE, SLICE);
    check_move(SLICE, SLICE + page);
    check_move(MIB, 3 * MIB);
}

static void test_move_to_huge_reserve_costs_addresses_alone(void **state)
{
    (void)state;
    char *start = map(MIB, SLICE);
    pattern_fill(start, MIB, 9);
    char *place = reserve(16 * GIB, SLICE);
    assert_true(wr_vm_move(start, MIB, place, 16 * GIB));
    assert_true(pattern_holds(place, MIB, 9));
    assert_true(all_zero(place + 16 * GIB - page, page));
    unmap(place, 16 * GIB);
}

static void test_move_refused_leaves_the_mapping_as_it_was(void **state)
{
    (void)state;
    /* Two protections make two mappings of it, and no kernel moves two to a larger place. */
    char *start = map(2 * SLICE, SLICE);
    pattern_fill(start, 2 * SLICE, 10);
    assert_int_equal(mprotect(start + SLICE, SLICE, PROT_READ), 0);
    char *place = reserve(4 * SLICE, SLICE);
    size_t before = wr_vm_mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_false(wr_vm_move(start, 2 * SLICE, place, 4 * SLICE));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_vm_mapped_bytes(), before);
    assert_true(pattern_holds(start, 2 * SLICE, 10));
    unmap(start, 2 * SLICE);
}

static void test_name_changes_nothing_but_the_name_and_keeps_errno(void **state)
{
    (void)state;
    char *p = wr_vm_map(256 * KIB, 64 * KIB);
    assert_non_null(p);
    pattern_fill(p, 256 * KIB, 1);
    errno = ERRNO_UNUSED;
    wr_vm_name(p, 256 * KIB, "weir: test");
    wr_vm_name(p, 256 * KIB, "weir: test"); /* not asked again where the kernel knows no names */
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(pattern_holds(p, 256 * KIB, 1));
    assert_true(wr_vm_unmap(p, 256 * KIB));
}

static void test_dumped_range_is_taken_out_and_let_in_exactly(void **state)
{
    (void)state;
    char *p = wr_vm_map(256 * KIB, 64 * KIB);
    assert_non_null(p);
    errno = ERRNO_UNUSED;
    assert_true(wr_vm_set_dumped(p + 64 * KIB, 128 * KIB, false));
    assert_false(maps_has_flag((uintptr_t)p, "dd"));
    assert_true(maps_has_flag((uintptr_t)p + 64 * KIB, "dd"));
    assert_true(maps_has_flag((uintptr_t)p + 192 * KIB - 1, "dd"));
    assert_false(maps_has_flag((uintptr_t)p + 192 * KIB, "dd"));
    assert_true(wr_vm_set_dumped(p + 64 * KIB, 128 * KIB, true));
    assert_false(maps_has_flag((uintptr_t)p + 64 * KIB, "dd"));
    assert_true(wr_vm_unmap(p, 256 * KIB));
}

static void test_huge_pages_are_asked_for_and_refused_by_range(void **state)
{
    (void)state;
    char *p = wr_vm_map(4 * MIB, 2 * MIB);
    assert_non_null(p);
    errno = ERRNO_UNUSED;
    wr_vm_set_huge(p, 2 * MIB, true);
    wr_vm_set_huge(p + 2 * MIB, 2 * MIB, false);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(maps_has_flag((uintptr_t)p, "hg"));
    assert_true(maps_has_flag((uintptr_t)p + 2 * MIB, "nh"));
    assert_true(wr_vm_unmap(p, 4 * MIB));
}

static void test_peak_is_the_most_that_was_mapped_at_once(void **state)
{
    (void)state;
    size_t peak = wr_vm_mapped_peak_bytes();
    size_t above = peak - wr_vm_mapped_bytes() + MIB;
    char *start = map(above, SLICE);
    assert_int_equal(wr_vm_mapped_peak_bytes(), peak + MIB);
    unmap(start, above);
    assert_int_equal(wr_vm_mapped_peak_bytes(), peak + MIB);
    unmap(map(SLICE, SLICE), SLICE);
    assert_int_equal(wr_vm_mapped_peak_bytes(), peak + MIB);
}

static void test_count_takes_more_and_fewer_in_one_step(void **state)
{
    (void)state;
    size_t before = wr_vm_mapped_bytes();
    wr_vm_count_mapped(5 * page, 2 * page);
    assert_int_equal(wr_vm_mapped_bytes(), before + 3 * page);
    wr_vm_count_mapped(page, 4 * page);
    assert_int_equal(wr_vm_mapped_bytes(), before);
}

static void *map_and_unmap(void *argument)
{
    size_t bytes = ((size_t)(uintptr_t)argument + 1) * SLICE;
    for (size_t i = 0; i < ROUNDS; i++) {
        unsigned char *start = wr_vm_map(bytes, SLICE);
        CHECK(start != NULL && is_aligned(start, SLICE));
        CHECK(start[0] == 0 && start[bytes - 1] == 0);
        start[0] = 1;
        start[bytes - 1] = 1;
        CHECK(wr_vm_unmap(start, bytes));
    }
    return NULL;
}

static void test_map_by_many_threads_is_counted_exactly(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t before = wr_vm_mapped_bytes();
    for (size_t i = 0; i < THREADS; i++) {
        void *number = (void *)(uintptr_t)i;
        assert_int_equal(pthread_create(&threads[i], NULL, map_and_unmap, number), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(wr_vm_mapped_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_of_any_alignment_is_aligned_zero_and_apart),
        cmocka_unit_test(test_map_beside_taken_addresses_takes_what_is_asked_for_alone),
        cmocka_unit_test(test_map_beside_taken_addresses_is_aligned),
        cmocka_unit_test(test_map_beyond_the_addresses_changes_nothing),
        cmocka_unit_test(test_map_of_impossible_alignment_changes_nothing),
        cmocka_unit_test(test_unmap_gives_exactly_the_range_back),
        cmocka_unit_test(test_unmap_refused_changes_nothing),
        cmocka_unit_test(test_purge_zeroes_exactly_the_range),
        cmocka_unit_test(test_purge_gives_the_page_frames_back),
        cmocka_unit_test(test_purge_of_locked_memory_keeps_its_contents),
        cmocka_unit_test(test_grow_into_free_addresses_keeps_contents_and_adds_zeros),
        cmocka_unit_test(test_grow_into_taken_addresses_changes_nothing),
        cmocka_unit_test(test_reserve_of_any_alignment_is_aligned_and_taken),
        cmocka_unit_test(test_reserve_has_no_memory),
        cmocka_unit_test(test_unreserve_gives_the_addresses_back),
        cmocka_unit_test(test_move_keeps_contents_adds_zeros_and_frees_the_old_place),
        cmocka_unit_test(test_move_to_huge_reserve_costs_addresses_alone),
        cmocka_unit_test(test_move_refused_leaves_the_mapping_as_it_was),
        cmocka_unit_test(test_name_changes_nothing_but_the_name_and_keeps_errno),
        cmocka_unit_test(test_dumped_range_is_taken_out_and_let_in_exactly),
        cmocka_unit_test(test_huge_pages_are_asked_for_and_refused_by_range),
        cmocka_unit_test(test_peak_is_the_most_that_was_mapped_at_once),
        cmocka_unit_test(test_count_takes_more_and_fewer_in_one_step),
        cmocka_unit_test(test_map_by_many_threads_is_counted_exactly),
    };
    return cmocka_run_group_tests_name("vm_mmap", tests, find_page_size, NULL);
}
