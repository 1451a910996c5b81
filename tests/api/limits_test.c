/* Out of memory is a normal path: address space, data size and mappings run out in a child, and
 * the family fails with ENOMEM, keeps what is live and works again once memory is free. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "exercise.h"
#include "family.h"

#define ROUNDS            3
#define ADDRESS_SPACE_MAX (64 * MIB)
#define DATA_MAX          (16 * MIB)
#define MAPPINGS_MAX      (1 << 18) /* where vm.max_map_count is higher, it is not exhausted */

struct exhaustion {
    int resource;
    size_t limit_bytes;
    size_t sizes[4]; /* taken in turn, 0 ends the list */
};

/* The blocks are chained through their first word, so that no table is needed. */
struct link {
    struct link *next;
    size_t size;
};

/* Allocates until the first failure; returns how many bytes were got. */
static size_t allocate_all(const size_t *sizes, struct link **chain)
{
    size_t bytes = 0;
    size_t turn = 0;
    for (;;) {
        errno = ERRNO_UNUSED;
        struct link *link = t_malloc(sizes[turn]);
        if (link == NULL) {
            break;
        }
        CHECK(errno == ERRNO_UNUSED);
        link->next = *chain;
        link->size = sizes[turn];
        pattern_fill(link + 1, link->size - sizeof *link, link->size);
        *chain = link;
        bytes += sizes[turn];
        turn = turn + 1 < 4 && sizes[turn + 1] != 0 ? turn + 1 : 0;
    }
    CHECK(errno == ENOMEM);
    return bytes;
}

static void free_all(struct link *chain)
{
    errno = ERRNO_UNUSED;
    while (chain != NULL) {
        struct link *next = chain->next;
        CHECK(pattern_holds(chain + 1, chain->size - sizeof *chain, chain->size));
        t_free(chain);
        chain = next;
    }
    CHECK(errno == ERRNO_UNUSED);
}

static void exhaust(void *argument)
{
    const struct exhaustion *exhaustion = argument;
    struct rlimit limit = {exhaustion->limit_bytes, exhaustion->limit_bytes};
    CHECK(setrlimit((__rlimit_resource_t)exhaustion->resource, &limit) == 0);
    size_t first_bytes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct link *chain = NULL;
        size_t bytes = allocate_all(exhaustion->sizes, &chain);
        CHECK(bytes >= exhaustion->limit_bytes / 4);
        /* Free memory is not lost: what one round had, the next gets again for the most part. */
        CHECK(round == 0 || bytes >= first_bytes / 2);
        first_bytes = round == 0 ? bytes : first_bytes;
        errno = ERRNO_UNUSED;
        CHECK(t_calloc(1, exhaustion->limit_bytes) == NULL && errno == ENOMEM);
        free_all(chain);
    }
    family_exercise_many(1, 50, 100 * KIB);
}

static void check_exhaustion(int resource, size_t limit_bytes, const size_t *sizes)
{
    struct exhaustion exhaustion = {
        resource, limit_bytes, {sizes[0], sizes[1], sizes[2], sizes[3]}};
    struct outcome outcome;
    run_child(exhaust, &exhaustion, &outcome);
    assert_clean_exit(&outcome);
}

static const size_t small[4] = {64};
static const size_t medium[4] = {100 * KIB};
static const size_t large[4] = {1 * MIB};
static const size_t mixed[4] = {64, 100 * KIB, 5000, 1 * MIB};

static void test_address_space_exhausted_by_small_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_AS, ADDRESS_SPACE_MAX, small);
}

static void test_address_space_exhausted_by_100_kib_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_AS, ADDRESS_SPACE_MAX, medium);
}

static void test_address_space_exhausted_by_1_mib_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_AS, ADDRESS_SPACE_MAX, large);
}

static void test_address_space_exhausted_by_mixed_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_AS, ADDRESS_SPACE_MAX, mixed);
}

static void test_data_size_exhausted_by_small_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_DATA, DATA_MAX, small);
}

static void test_data_size_exhausted_by_100_kib_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_DATA, DATA_MAX, medium);
}

static void test_data_size_exhausted_by_1_mib_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_DATA, DATA_MAX, large);
}

static void test_data_size_exhausted_by_mixed_blocks_recovers(void **state)
{
    (void)state;
    check_exhaustion(RLIMIT_DATA, DATA_MAX, mixed);
}

/* Pages of alternating protection, each a mapping of its own, until the kernel refuses one. */
static void exhaust_mappings(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, MAPPINGS_MAX * page, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (size_t i = 0; i < MAPPINGS_MAX; i += 2) {
        if (mprotect(pages + i * page, page, PROT_READ) != 0) {
            CHECK(errno == ENOMEM);
            break;
        }
    }
}

static const size_t ranges[] = {16, 500, 5000, 40000, 100 * KIB, 200 * KIB, 1 * MIB, 9 * MIB};

/* Success or a clean failure; what is got is usable. */
static void allocate_or_fail_cleanly(size_t size)
{
    errno = ERRNO_UNUSED;
    void *block = t_malloc(size);
    CHECK(errno == (block != NULL ? ERRNO_UNUSED : ENOMEM));
    if (block == NULL) {
        return;
    }
    pattern_fill(block, size, size);
    errno = ERRNO_UNUSED;
    void *grown = t_realloc(block, 2 * size);
    CHECK(errno == (grown != NULL ? ERRNO_UNUSED : ENOMEM));
    block = grown != NULL ? grown : block;
    CHECK(pattern_holds(block, size, size));
    errno = ERRNO_UNUSED;
    t_free(block);
    CHECK(errno == ERRNO_UNUSED);
}

static void use_without_mappings(void *unused)
{
    (void)unused;
    void *blocks[COUNT_OF(ranges)][20];
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        for (size_t k = 0; k < COUNT_OF(blocks[i]); k++) {
            blocks[i][k] = t_malloc(ranges[i]);
            CHECK(blocks[i][k] != NULL);
            pattern_fill(blocks[i][k], ranges[i] < 4096 ? ranges[i] : 4096, i + k);
        }
    }
    exhaust_mappings();
    for (size_t k = 0; k < COUNT_OF(blocks[0]); k++) {
        for (size_t i = 0; i < COUNT_OF(ranges); i++) {
            allocate_or_fail_cleanly(ranges[i]);
            CHECK(pattern_holds(blocks[i][k], ranges[i] < 4096 ? ranges[i] : 4096, i + k));
            errno = ERRNO_UNUSED;
            t_free(blocks[i][k]);
            CHECK(errno == ERRNO_UNUSED);
        }
    }
    t_malloc_trim(0);
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        allocate_or_fail_cleanly(ranges[i]);
    }
}

static void *use_family(void *unused)
{
    family_exercise(7);
    return unused;
}

static void refuse_threads(void *unused)
{
    (void)unused;
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 512 * MIB) == 0);
    family_exercise(1);
    struct rlimit limit = {256 * MIB, 256 * MIB};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(pthread_create(&thread, &attributes, use_family, NULL) == EAGAIN);
        t_free(t_malloc(i));
    }
    CHECK(pthread_attr_setstacksize(&attributes, 256 * KIB) == 0);
    CHECK(pthread_create(&thread, &attributes, use_family, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    family_exercise(2);
}

static void test_threads_that_cannot_be_made_leave_the_heap_usable(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(refuse_threads, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_mappings_exhausted_calls_succeed_or_fail_with_enomem(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(use_without_mappings, NULL, &outcome);
    assert_clean_exit(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_space_exhausted_by_small_blocks_recovers),
        cmocka_unit_test(test_address_space_exhausted_by_100_kib_blocks_recovers),
        cmocka_unit_test(test_address_space_exhausted_by_1_mib_blocks_recovers),
        cmocka_unit_test(test_address_space_exhausted_by_mixed_blocks_recovers),
        cmocka_unit_test(test_data_size_exhausted_by_small_blocks_recovers),
        cmocka_unit_test(test_data_size_exhausted_by_100_kib_blocks_recovers),
        cmocka_unit_test(test_data_size_exhausted_by_1_mib_blocks_recovers),
        cmocka_unit_test(test_data_size_exhausted_by_mixed_blocks_recovers),
        cmocka_unit_test(test_threads_that_cannot_be_made_leave_the_heap_usable),
        cmocka_unit_test(test_mappings_exhausted_calls_succeed_or_fail_with_enomem),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
