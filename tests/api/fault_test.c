/* Out of memory is a normal path: a workload over the whole family runs in a child for each kernel
 * call that it makes, and that call fails, alone or with all that follow.
 *
 * A request fails with errno ENOMEM only while the kernel refuses something to it, and changes
 * nothing then: what is live keeps its contents, and once the kernel gives again the same workload
 * succeeds from its first request to its last.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "exercise.h"
#include "family.h"
#include "fault.h"

#define BLOCKS_MAX  1000
#define WHOLE_BYTES (2 * KIB) /* blocks up to here are marked all over */
#define PLACES      8         /* larger ones in so many places and at the end */
#define PLACE_BYTES ((size_t)64)
#define HUGE_BYTES  (20 * MIB) /* two of them are more than is kept when freed */
#define GROWN_BYTES (3 * MIB)
#define STEP        TEST_SCALE(1, 6)
#define CALLS_LEAST 40 /* kernel calls of the workload, at least */

struct block {
    unsigned char *start;
    size_t bytes; /* usable */
    uint64_t tag;
};

/* What one thread has live. */
struct set {
    struct block blocks[BLOCKS_MAX];
    size_t count;
    uint64_t tag; /* of the latest block */
    /* A request that fails is made again and must succeed; else it is gone without. */
    bool retries;
};

/* A child's course: of `calls`, number `first` fails and all of `length` from there on, while
 * `refused` fail all the time. */
struct course {
    unsigned calls;
    size_t first;
    size_t length;
    unsigned refused;
    bool may_fail; /* requests may fail at all */
};

/* What a child found, in memory shared with the parent. */
struct finding {
    size_t counted;
    size_t failed_calls;
    size_t failed_requests;
    unsigned calls_seen;
};

static struct finding *finding;
static uint64_t seed;
static _Atomic size_t failed_requests;
static struct set main_set;
static struct set thread_set; /* threads of the workload run one at a time */

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Places that are marked: the first is the start, the last ends with the block. */
static size_t next_place(size_t at, size_t bytes)
{
    size_t last = bytes - PLACE_BYTES;
    size_t next = at + (bytes / PLACES & ~(PLACE_BYTES - 1));
    return at < last && next > last ? last : next;
}

static void mark(const struct block *block)
{
    if (block->bytes <= WHOLE_BYTES) {
        pattern_fill(block->start, block->bytes, block->tag);
        return;
    }
    for (size_t at = 0; at < block->bytes; at = next_place(at, block->bytes)) {
        pattern_fill(block->start + at, PLACE_BYTES, block->tag + at);
    }
}

/* The marks of a block are there in its first `kept_bytes`. */
static bool holds(const struct block *block, size_t kept_bytes)
{
    if (block->bytes <= WHOLE_BYTES) {
        return pattern_holds(block->start, lesser(block->bytes, kept_bytes), block->tag);
    }
    for (size_t at = 0; at < block->bytes; at = next_place(at, block->bytes)) {
        if (at + PLACE_BYTES <= kept_bytes &&
            !pattern_holds(block->start + at, PLACE_BYTES, block->tag + at)) {
            return false;
        }
    }
    return true;
}

/* Reads as zero all over or, if large, where a block of its size would be marked. */
static bool is_zero(const unsigned char *start, size_t bytes)
{
    if (bytes <= 64 * KIB) {
        return all_zero(start, bytes);
    }
    for (size_t at = 0; at < bytes; at = next_place(at, bytes)) {
        if (!all_zero(start + at, PLACE_BYTES)) {
            return false;
        }
    }
    return true;
}

static void check_live(const struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct block *block = &set->blocks[i];
        CHECK(t_usable_size(block->start) == block->bytes);
        CHECK(holds(block, block->bytes));
    }
}

/* A request, by any function of the family. */
struct request {
    enum { MALLOC, CALLOC, ALIGNED, POSIX_MEMALIGN, AT_LEAST, REALLOC } function;
    size_t size;
    size_t alignment;
    void *ptr; /* for REALLOC */
};

static void *ask(const struct request *request)
{
    void *ptr = NULL;
    size_t actual = 0;
    int result;
    switch (request->function) {
    case MALLOC:
        return t_malloc(request->size);
    case CALLOC:
        return t_calloc(1, request->size);
    case ALIGNED:
        return t_aligned_alloc(request->alignment, request->size);
    case POSIX_MEMALIGN:
        result = t_posix_memalign(&ptr, request->alignment, request->size);
        CHECK(result == (ptr != NULL ? 0 : ENOMEM) && errno == ERRNO_UNUSED);
        errno = ptr != NULL ? errno : result; /* as the other functions tell */
        return ptr;
    case AT_LEAST:
        ptr = weir_alloc_at_least(request->size, &actual);
        CHECK((ptr != NULL) == (actual >= request->size && actual != 0));
        return ptr;
    case REALLOC:
        return t_realloc(request->ptr, request->size);
    }
    return NULL;
}

/* Counts a request that found no memory: that is right only if the kernel has just refused. */
static void check_failed(size_t failed_before)
{
    CHECK(errno == ENOMEM);
    CHECK(fault_failed() > failed_before);
    failed_requests++;
}

static void *ask_once(const struct request *request)
{
    size_t failed_before = fault_failed();
    errno = ERRNO_UNUSED;
    void *ptr = ask(request);
    if (ptr == NULL) {
        check_failed(failed_before);
        return NULL;
    }
    CHECK(errno == ERRNO_UNUSED);
    CHECK(is_aligned(ptr, natural_alignment(request->size)));
    CHECK(request->alignment == 0 || is_aligned(ptr, request->alignment));
    CHECK(request->function != CALLOC || is_zero(ptr, request->size));
    return ptr;
}

static void *ask_as_set_wants(const struct set *set, const struct request *request)
{
    void *ptr = ask_once(request);
    if (ptr == NULL && set->retries) {
        check_live(set);
        ptr = ask_once(request);
        CHECK(ptr != NULL);
    }
    return ptr;
}

static void add(struct set *set, void *start)
{
    CHECK(set->count < BLOCKS_MAX);
    struct block *block = &set->blocks[set->count++];
    block->start = start;
    block->bytes = t_usable_size(start);
    block->tag = ++set->tag << 32;
    mark(block);
}

static void allocate(struct set *set, struct request request, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *start = ask_as_set_wants(set, &request);
        if (start != NULL) {
            add(set, start);
        }
    }
}

/* Frees the live block at an index; the last one takes its place. */
static void give_back(struct set *set, size_t index)
{
    CHECK(holds(&set->blocks[index], set->blocks[index].bytes));
    errno = ERRNO_UNUSED;
    t_free(set->blocks[index].start);
    CHECK(errno == ERRNO_UNUSED);
    set->blocks[index] = set->blocks[--set->count];
}

static void give_back_all(struct set *set)
{
    check_live(set);
    while (set->count > 0) {
        give_back(set, set->count - 1);
    }
}

/* The live block at an index at another size; as it was if that fails. */
static void resize(struct set *set, size_t index, size_t size)
{
    struct block *block = &set->blocks[index];
    size_t old_bytes = block->bytes;
    struct request request = {.function = REALLOC, .size = size, .ptr = block->start};
    void *start = ask_as_set_wants(set, &request);
    if (start == NULL) {
        CHECK(t_usable_size(block->start) == old_bytes && holds(block, old_bytes));
        return;
    }
    block->start = start;
    CHECK(t_usable_size(start) >= size);
    CHECK(holds(block, lesser(old_bytes, size)));
    block->bytes = t_usable_size(start);
    mark(block);
}

/* Without moving, which may be refused for other reasons than memory. */
static void resize_in_place(struct set *set, size_t index, size_t size)
{
    struct block *block = &set->blocks[index];
    size_t old_bytes = block->bytes;
    errno = ERRNO_UNUSED;
    int done = weir_resize_in_place(block->start, size);
    CHECK(errno == ERRNO_UNUSED);
    size_t bytes = t_usable_size(block->start);
    CHECK(done ? bytes >= size : bytes == old_bytes);
    CHECK(holds(block, lesser(old_bytes, bytes)));
    block->bytes = bytes;
    mark(block);
}

static void use_small(struct set *set)
{
    static const size_t sizes[] = {0, 1, 8, 24, 100, 500, 1000, 3000, 5000, 20480};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        allocate(set, (struct request){.function = MALLOC, .size = sizes[i]}, 3);
        allocate(set, (struct request){.function = CALLOC, .size = sizes[i]}, 1);
    }
    /* More slabs than the page heap has at first. */
    allocate(set, (struct request){.function = MALLOC, .size = 32 * KIB}, 20);
    allocate(set, (struct request){.function = AT_LEAST, .size = 9000}, 5);
}

static void use_large(struct set *set)
{
    allocate(set, (struct request){.function = MALLOC, .size = 40000}, 5);
    allocate(set, (struct request){.function = CALLOC, .size = 100 * KIB}, 3);
    allocate(set, (struct request){.function = MALLOC, .size = 128 * KIB}, 2);
    allocate(set, (struct request){.function = CALLOC, .size = 300 * KIB}, 2);
    allocate(set, (struct request){.function = AT_LEAST, .size = 3 * MIB}, 1);
}

static void use_aligned(struct set *set)
{
    static const size_t alignments[] = {64, 4096, 64 * KIB, MIB, 16 * MIB};
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        struct request request = {.function = ALIGNED, .alignment = alignments[i]};
        request.size = 200;
        allocate(set, request, 1);
        request.function = POSIX_MEMALIGN;
        request.size = 150 * KIB;
        allocate(set, request, 1);
    }
}

/* Kept mappings: more than may be kept, then used again and made zero in both ways. */
static void use_kept(struct set *set)
{
    static const size_t sizes[] = {700 * KIB, 1500 * KIB, HUGE_BYTES, HUGE_BYTES};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t before = set->count;
        allocate(set, (struct request){.function = MALLOC, .size = sizes[i]}, 2);
        while (set->count > before) {
            give_back(set, set->count - 1);
        }
        allocate(set, (struct request){.function = CALLOC, .size = sizes[i]}, i < 2);
    }
}

/* Two blocks that grow side by side through all kinds, then shrink. */
static void use_resizing(struct set *set)
{
    size_t first = set->count;
    allocate(set, (struct request){.function = MALLOC, .size = 16}, 2);
    size_t grown = set->count;
    for (size_t size = 16; size < GROWN_BYTES; size += size + size / 2) {
        for (size_t i = first; i < grown; i++) {
            resize(set, i, size);
        }
    }
    for (size_t i = first; i < grown; i++) {
        resize_in_place(set, i, GROWN_BYTES + 200 * KIB);
        resize_in_place(set, i, GROWN_BYTES / 2);
        for (size_t size = GROWN_BYTES / 3; size > 1000; size /= 4) {
            resize(set, i, size);
        }
    }
}

static void use_batch(struct set *set, size_t size, size_t n)
{
    void *batch[200];
    size_t failed_before = fault_failed();
    CHECK(n <= COUNT_OF(batch));
    memset(batch, 0xff, sizeof batch);
    errno = ERRNO_UNUSED;
    size_t got = weir_malloc_batch(size, n, batch);
    if (got < n) {
        check_failed(failed_before);
        for (size_t i = got; i < n; i++) {
            CHECK((uintptr_t)batch[i] == UINTPTR_MAX);
        }
    } else {
        CHECK(got == n && errno == ERRNO_UNUSED);
    }
    /* Half of them live on. */
    for (size_t i = 0; i < got / 2; i++) {
        add(set, batch[i]);
    }
    errno = ERRNO_UNUSED;
    weir_free_batch(got - got / 2, batch + got / 2);
    CHECK(errno == ERRNO_UNUSED);
}

static void *use_in_thread(void *argument)
{
    struct set *set = argument;
    allocate(set, (struct request){.function = MALLOC, .size = 48}, 100);
    allocate(set, (struct request){.function = CALLOC, .size = 20000}, 10);
    while (set->count > 20) {
        give_back(set, set->count / 2);
    }
    return NULL;
}

/* The thread's first calls frees: what another thread has allocated. */
static void *free_in_thread(void *argument)
{
    give_back_all(argument);
    return use_in_thread(argument);
}

static void use_threads(const struct set *set)
{
    static void *(*const bodies[])(void *) = {use_in_thread, free_in_thread, free_in_thread};
    thread_set.retries = set->retries;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, bodies[i], &thread_set) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    give_back_all(&thread_set);
}

static void trim(size_t pad)
{
    errno = ERRNO_UNUSED;
    int given = t_malloc_trim(pad);
    CHECK(given == 0 || given == 1);
    CHECK(errno == ERRNO_UNUSED);
}

static void run_workload(struct set *set)
{
    use_small(set);
    use_large(set);
    use_threads(set);
    use_aligned(set);
    use_batch(set, 64, 200);
    use_batch(set, 8000, 30);
    use_batch(set, 100 * KIB, 4);
    for (size_t i = 0; i < set->count; i += 2) {
        give_back(set, i);
    }
    trim(2 * MIB);
    use_kept(set);
    trim(0);
    use_resizing(set);
    check_live(set);
}

/* The workload under the course, and then again with a kernel that gives what it is asked for. */
static void run_course(void *argument)
{
    const struct course *course = argument;
    main_set.retries = course->length != FAULT_FOREVER;
    fault_refuse(course->refused);
    fault_arm(course->calls, course->first, course->length);
    run_workload(&main_set);
    fault_disarm();
    fault_refuse(0);
    finding->counted = fault_counted();
    finding->failed_calls = fault_failed();
    finding->failed_requests = failed_requests;
    finding->calls_seen |= fault_calls_seen();
    give_back_all(&main_set);
    run_workload(&main_set);
    give_back_all(&main_set);
    trim(0);
    family_exercise(1);
    CHECK(failed_requests == finding->failed_requests);
    CHECK(course->may_fail || failed_requests == 0);
}

static void run_in_child(struct course course)
{
    struct outcome outcome;
    run_child(run_course, &course, &outcome);
    if (outcome.bytes != 0 || outcome.signal != 0) {
        print_error("calls %x, first %zu, length %zu, refused %x\n", course.calls, course.first,
                    course.length, course.refused);
    }
    assert_clean_exit(&outcome);
}

/* Runs a course for each call in turn, until one comes after the last; builds in which a child
 * costs more take each `STEP`-th, from one on that changes. Returns how many children failed calls
 * of theirs, and adds their failed requests to *requests. */
static size_t fail_each_in_turn(struct course course, size_t *requests)
{
    size_t runs = 0;
    for (course.first = 1 + seed % STEP;; course.first += STEP) {
        run_in_child(course);
        if (finding->counted < course.first) {
            return runs;
        }
        assert_true(finding->failed_calls > 0);
        assert_true(finding->failed_requests <= 1 || course.length != 1);
        *requests += finding->failed_requests;
        runs++;
    }
}

static int share_finding(void **state)
{
    (void)state;
    seed = test_seed();
    finding =
        mmap(NULL, sizeof *finding, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return finding == MAP_FAILED ? -1 : 0;
}

static void test_workload_without_faults_makes_every_kind_of_call(void **state)
{
    (void)state;
    finding->calls_seen = 0;
    run_in_child((struct course){.calls = FAULT_ALL, .first = SIZE_MAX, .length = 1});
    assert_int_equal(finding->calls_seen, FAULT_ALL);
    assert_int_equal(finding->failed_calls, 0);
    assert_int_equal(finding->failed_requests, 0);
}

static void test_each_call_failing_once_costs_at_most_one_request(void **state)
{
    (void)state;
    struct course course = {.calls = FAULT_ALL, .length = 1, .may_fail = true};
    size_t requests = 0;
    size_t runs = fail_each_in_turn(course, &requests);
    assert_true(runs >= CALLS_LEAST / STEP);
    assert_true(STEP > 1 || requests < runs / 2); /* most have another way; a sample may not */
}

static void test_each_call_and_all_after_it_failing_is_survived(void **state)
{
    (void)state;
    struct course course = {.calls = FAULT_ALL, .length = FAULT_FOREVER, .may_fail = true};
    size_t requests = 0;
    assert_true(fail_each_in_turn(course, &requests) >= CALLS_LEAST / STEP);
    assert_true(requests > 0);
}

static void test_each_call_failing_once_without_data_segment_is_survived(void **state)
{
    (void)state;
    struct course course = {
        .calls = FAULT_ALL & ~FAULT_SBRK, .length = 1, .refused = FAULT_SBRK, .may_fail = true};
    size_t requests = 0;
    assert_true(fail_each_in_turn(course, &requests) >= CALLS_LEAST / STEP);
    assert_true(requests > 0 || STEP > 1);
}

static void test_calls_with_another_way_failing_for_good_cost_no_request(void **state)
{
    (void)state;
    static const unsigned refused[] = {FAULT_SBRK, FAULT_MREMAP, FAULT_MUNMAP, FAULT_MADVISE,
                                       FAULT_ALL & ~FAULT_MMAP};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        run_in_child((struct course){.refused = refused[i]});
        assert_true(finding->failed_calls > 0);
    }
}

static void test_mmap_failing_for_good_fails_cleanly(void **state)
{
    (void)state;
    run_in_child((struct course){
        .calls = FAULT_MMAP, .first = 1, .length = FAULT_FOREVER, .may_fail = true});
    assert_true(finding->failed_requests > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workload_without_faults_makes_every_kind_of_call),
        cmocka_unit_test(test_each_call_failing_once_costs_at_most_one_request),
        cmocka_unit_test(test_each_call_and_all_after_it_failing_is_survived),
        cmocka_unit_test(test_each_call_failing_once_without_data_segment_is_survived),
        cmocka_unit_test(test_calls_with_another_way_failing_for_good_cost_no_request),
        cmocka_unit_test(test_mmap_failing_for_good_fails_cleanly),
    };
    return cmocka_run_group_tests_name("fault", tests, share_finding, NULL);
}
