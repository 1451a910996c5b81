/* Stealing: what a thief takes and what it leaves, what an owner may do between its steps, and
 * owners at full speed beside it. The barrier of os/barrier.h is one of the test's own here: it can
 * do something in between, or fail.
 */
#include "cache/steal.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/options.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "crew.h"
#include "heap/heap.h"
#include "os/barrier.h"
#include "cache_support.h"

#include "weir/weir.h"

#define COLD WR_CACHE_COLD_BLOCKS

/* ---- the barrier ---- */

static struct {
    void (*between[2])(void); /* what the world does at the first and the second, or NULL */
    bool fails[2];
    unsigned calls;
} barrier;

bool __real_wr_barrier_all(void);
bool __wrap_wr_barrier_all(void);

static bool is_scripted;

bool __wrap_wr_barrier_all(void)
{
    if (!is_scripted) {
        return __real_wr_barrier_all();
    }
    unsigned call = barrier.calls++;
    CHECK(call < 2);
    if (barrier.between[call] != NULL) {
        barrier.between[call]();
    }
    return !barrier.fails[call] && __real_wr_barrier_all();
}

/* ---- an owner ---- */

static wr_cache *owner;
static unsigned class;

static wr_cache *create(void)
{
    wr_cache *cache = wr_cache_create(wr_heap_default.bins);
    CHECK(cache != NULL);
    return cache;
}

static wr_cache_entry *base(void)
{
    return wr_stack_base(owner, class);
}

static wr_cache_entry *top(void)
{
    return wr_stack_top(owner, class);
}

static unsigned length(void)
{
    return wr_stack_length(owner, class);
}

static unsigned place_of_base(void)
{
    return (unsigned)(base() - wr_cache_array(owner, class));
}

static void *get(void)
{
    return cache_get(owner, class);
}

static void give(void *block)
{
    cache_give(owner, class, block);
}

static bool is_free_in_slab(const void *block)
{
    wr_span *slab = wr_span_find((uintptr_t)block);
    wr_slab_place place;
    if (slab == NULL) {
        return true; /* the whole slab went back */
    }
    CHECK(wr_slab_locate(slab, (uintptr_t)block, &place));
    return (wr_load_relaxed(&slab->free_bits[place.word]) & place.bit) != 0;
}

/* Blocks that pass no cache. */
static void take_direct(unsigned count, void **out)
{
    wr_span *kept = NULL;
    for (unsigned i = 0; i < count; i++) {
        CHECK(wr_bin_refill(&wr_heap_default.bins[class], &kept, 1, &out[i]) == 1);
    }
    wr_bin_give_up(kept);
}

/* The blocks in the owner's bin, oldest first, and one that the program holds, so that their slab
 * stays. */
static void *blocks[COLD];
static void *held;

static void fill(size_t bytes, unsigned count)
{
    class = wr_size_class_of(bytes);
    take_direct(1, &held);
    take_direct(count, blocks);
    for (unsigned i = 0; i < count; i++) {
        give(blocks[i]);
    }
    assert_int_equal(length(), count);
}

/* Uses the class until its bin can hold as much as it may, and its slab is the owner's own. */
static void make_hot(void)
{
    static void *many[4 * WR_CACHE_BIN_BLOCKS];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT_OF(many); i++) {
            many[i] = get();
        }
        for (unsigned i = 0; i < COUNT_OF(many); i++) {
            give(many[i]);
        }
        if (owner->capacity[class] == wr_capacity_max(class)) {
            return;
        }
    }
    fail_msg("capacity %u", owner->capacity[class]);
}

static bool owner_only(wr_cache *cache)
{
    return cache == owner;
}

static bool any(wr_cache *cache)
{
    (void)cache;
    return true;
}

static bool none(wr_cache *cache)
{
    (void)cache;
    return false;
}

static wr_steal_result steal(void)
{
    barrier.calls = 0;
    is_scripted = true;
    wr_steal_result result = wr_steal(owner_only);
    is_scripted = false;
    return result;
}

static int set_up(void **state)
{
    (void)state;
    memset(&barrier, 0, sizeof barrier);
    owner = create();
    held = NULL;
    return 0;
}

/* All blocks are back: no bin has more than its spare. */
static int tear_down(void **state)
{
    (void)state;
    if (held != NULL) {
        wr_return(1, &held, "free");
    }
    wr_cache_assert_valid(owner);
    wr_cache_drain(owner);
    for (unsigned c = 1; c < WR_CLASS_COUNT; c++) {
        wr_bin *b = &wr_heap_default.bins[c];
        wr_store_relaxed(&b->sparse, 0);
        CHECK(wr_load_relaxed(&b->slabs) <= 1);
        CHECK(wr_load_relaxed(&b->slabs) == wr_load_relaxed(&b->spares));
    }
    return 0;
}

/* ---- what is taken ---- */

static void test_steal_takes_all_but_the_newest_block(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(barrier.calls, 2);
    for (unsigned i = 0; i < COLD - 1; i++) {
        assert_true(is_free_in_slab(blocks[i]));
        assert_null(wr_load_relaxed(wr_cache_array(owner, class) + i));
    }
    assert_false(is_free_in_slab(blocks[COLD - 1]));
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), COLD - 1);
    assert_ptr_equal(wr_load_relaxed(base()), blocks[COLD - 1]);
    assert_int_equal(wr_load_relaxed(&owner->thief), 0);
    wr_cache_assert_valid(owner);
}

static void test_steal_twice_takes_no_more(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), COLD - 1);
    assert_ptr_equal(get(), blocks[COLD - 1]);
    give(blocks[COLD - 1]);
}

static void test_steal_after_a_steal_takes_what_was_freed_since(void **state)
{
    (void)state;
    fill(64, 4);
    assert_int_equal(steal(), WR_STEAL_DONE);
    void *more[3];
    take_direct(3, more);
    for (unsigned i = 0; i < 3; i++) {
        give(more[i]);
    }
    assert_int_equal(length(), 4);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_true(is_free_in_slab(blocks[3]));
    assert_true(is_free_in_slab(more[0]));
    assert_true(is_free_in_slab(more[1]));
    assert_int_equal(length(), 1);
    assert_ptr_equal(wr_load_relaxed(base()), more[2]);
}

static void test_steal_of_one_block_or_none_leaves_the_bin_as_it_is(void **state)
{
    (void)state;
    fill(64, 1);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), 0);
    assert_ptr_equal(get(), blocks[0]);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 0);
    assert_int_equal(place_of_base(), 0);
    give(blocks[0]);
}

static void test_steal_of_a_hot_bin_takes_more_than_a_batch(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    make_hot();
    while (length() < WR_CACHE_BIN_BLOCKS) {
        void *more;
        take_direct(1, &more);
        give(more);
    }
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), WR_CACHE_BIN_BLOCKS - 1);
}

static void test_steal_takes_from_every_class(void **state)
{
    (void)state;
    for (class = 1; class < WR_CLASS_COUNT; class ++) {
        void *two[2];
        wr_capacity_set(owner, class, wr_capacity_max(class));
        take_direct(2, two);
        give(two[0]);
        give(two[1]);
    }
    assert_int_equal(steal(), WR_STEAL_DONE);
    for (class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(length(), 1);
        assert_null(owner->slab[class]);
    }
}

static void test_steal_gives_the_slabs_up(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    take_direct(1, &held);
    make_hot();
    wr_span *slab = owner->slab[class];
    assert_non_null(slab);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_null(owner->slab[class]);
    assert_int_equal(wr_load_relaxed(&slab->state) & WR_SLAB_OWNED, 0);
}

static void test_steal_asks_once_for_each_cache(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(wr_steal(none), WR_STEAL_NONE);
    assert_int_equal(length(), COLD);
    assert_false(owner->swept);
    wr_cache *chosen = owner;
    owner = create();
    assert_int_equal(steal(), WR_STEAL_DONE);
    wr_cache *other = owner;
    owner = chosen;
    assert_true(other->swept);
    assert_false(owner->swept);
    assert_int_equal(length(), COLD);
}

/* ---- afterwards ---- */

static void test_refill_after_a_steal_moves_the_bin_to_the_start_of_its_array(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_ptr_equal(get(), blocks[COLD - 1]);
    assert_int_equal(length(), 0);
    void *block = get(); /* a refill */
    assert_int_equal(place_of_base(), 0);
    assert_true(length() > 0);
    assert_false(is_free_in_slab(block));
    give(blocks[COLD - 1]);
    give(block);
}

static void test_overflow_after_a_steal_uses_the_places_below(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(steal(), WR_STEAL_DONE);
    void *more;
    take_direct(1, &more);
    give(more); /* no place above: the first slow call */
    assert_int_equal(place_of_base(), 0);
    assert_int_equal(length(), 2);
    assert_ptr_equal(wr_load_relaxed(base()), blocks[COLD - 1]);
    assert_ptr_equal(wr_load_relaxed(base() + 1), more);
}

static void test_drain_after_a_steal_returns_the_rest(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_int_equal(steal(), WR_STEAL_DONE);
    wr_cache_drain(owner);
    assert_int_equal(length(), 0);
    assert_true(is_free_in_slab(blocks[COLD - 1]));
}

static void test_slow_call_after_a_steal_lets_all_bins_cool_down(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    make_hot();
    class = wr_size_class_of(2048);
    make_hot();
    assert_true(owner->hot_bytes > 0);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_true(owner->swept);
    assert_int_equal(owner->hot_bytes, 0);
    assert_int_equal(owner->capacity[class], wr_capacity_max(class)); /* its owner's to do */
    void *left = get();
    assert_int_equal(length(), 0);
    class = wr_size_class_of(96);
    void *block = get(); /* a slow call of whatever class */
    assert_false(owner->swept);
    assert_int_equal(owner->capacity[wr_size_class_of(2048)], 0);
    assert_int_equal(owner->capacity[wr_size_class_of(64)], COLD);
    assert_int_equal(owner->heat[wr_size_class_of(64)], 0);
    give(block);
    wr_return(1, &left, "free");
}

static void test_first_free_after_a_steal_is_a_slow_call_that_opens_the_bin(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    make_hot();
    void *two[2];
    take_direct(2, two);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_ptr_equal(wr_load_relaxed(&owner->end[class]), wr_cache_array(owner, class));
    size_t calls = wr_load_relaxed(&owner->slow_calls);
    give(two[0]); /* seen by who asks if the cache is idle */
    assert_int_equal(wr_load_relaxed(&owner->slow_calls), calls + 1);
    assert_true(wr_load_relaxed(&owner->end[class]) > wr_cache_array(owner, class));
    assert_false(owner->swept);
    give(two[1]);
    assert_int_equal(wr_load_relaxed(&owner->slow_calls), calls + 1);
    assert_int_equal(length(), 3);
}

static void test_refill_of_a_bin_that_is_not_empty_returns_the_block_that_is_there(void **state)
{
    (void)state;
    fill(64, 2);
    size_t calls = wr_load_relaxed(&owner->slow_calls);
    /* The call saw base raised to top; the thief has put it back since. */
    assert_ptr_equal(wr_cache_refill(owner, class), blocks[1]);
    assert_int_equal(length(), 1);
    assert_ptr_equal(wr_cache_refill(owner, class), blocks[0]);
    assert_int_equal(length(), 0);
    assert_int_equal(wr_load_relaxed(&owner->slow_calls), calls);
    give(blocks[0]);
    give(blocks[1]);
}

/* ---- caches that are not to be had ---- */

static void test_busy_cache_is_let_go(void **state)
{
    (void)state;
    fill(64, COLD);
    wr_store_relaxed(&owner->busy, 1);
    assert_int_equal(steal(), WR_STEAL_DONE);
    wr_store_relaxed(&owner->busy, 0);
    assert_int_equal(wr_load_relaxed(&owner->thief), 0);
    assert_int_equal(length(), COLD);
    assert_int_equal(place_of_base(), 0);
    assert_false(owner->swept);
}

static wr_steal_result inner_result;

static void steal_within(void)
{
    is_scripted = false;
    inner_result = wr_steal(any);
    is_scripted = true;
}

static void test_second_thief_finds_the_first_at_it(void **state)
{
    (void)state;
    fill(64, COLD);
    for (unsigned call = 0; call < 2; call++) {
        inner_result = WR_STEAL_DONE;
        barrier.between[call] = steal_within;
        assert_int_equal(steal(), WR_STEAL_DONE);
        assert_int_equal(inner_result, WR_STEAL_BUSY);
        barrier.between[call] = NULL;
    }
    assert_int_equal(length(), 1);
    assert_int_equal(wr_steal(any), WR_STEAL_DONE);
}

static void test_steal_without_the_first_barrier_changes_nothing(void **state)
{
    (void)state;
    fill(64, COLD);
    barrier.fails[0] = true;
    assert_int_equal(steal(), WR_STEAL_NEVER);
    assert_int_equal(barrier.calls, 1);
    assert_int_equal(length(), COLD);
    assert_int_equal(place_of_base(), 0);
    assert_int_equal(wr_load_relaxed(&owner->thief), 0);
    assert_false(owner->swept);
}

static void test_steal_without_the_second_barrier_takes_no_block(void **state)
{
    (void)state;
    fill(64, COLD);
    assert_ptr_equal(get(), blocks[COLD - 1]);
    give(blocks[COLD - 1]);
    barrier.fails[1] = true;
    assert_int_equal(steal(), WR_STEAL_NEVER);
    assert_int_equal(length(), COLD);
    assert_int_equal(place_of_base(), 0);
    for (unsigned i = 0; i < COLD; i++) {
        assert_ptr_equal(wr_load_relaxed(base() + i), blocks[i]);
        assert_false(is_free_in_slab(blocks[i]));
    }
    assert_int_equal(wr_load_relaxed(&owner->thief), 0);
    /* Also above places that an earlier thief has emptied. */
    barrier.fails[1] = false;
    assert_int_equal(steal(), WR_STEAL_DONE);
    barrier.fails[1] = true;
    assert_int_equal(steal(), WR_STEAL_NEVER);
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), COLD - 1);
}

/* A kernel that answers membarrier(2) with an error, from here on. */
static void refuse_membarrier(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void steal_without_membarrier(void *error)
{
    refuse_membarrier(*(const int *)error);
    errno = ERRNO_UNUSED;
    CHECK(wr_steal(any) == WR_STEAL_NEVER);
    CHECK(wr_steal(owner_only) == WR_STEAL_NEVER);
    CHECK(errno == ERRNO_UNUSED);
    CHECK(length() == COLD && place_of_base() == 0);
    CHECK(wr_load_relaxed(&owner->thief) == 0 && !owner->swept);
    for (unsigned i = 0; i < COLD; i++) {
        CHECK(wr_load_relaxed(base() + i) == blocks[i] && !is_free_in_slab(blocks[i]));
    }
}

static void test_steal_in_a_kernel_without_membarrier_changes_nothing(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EPERM, EINVAL};
    fill(64, COLD);
    for (unsigned i = 0; i < COUNT_OF(errors); i++) {
        int error = errors[i];
        struct outcome outcome;
        run_child(steal_without_membarrier, &error, &outcome);
        assert_clean_exit(&outcome);
    }
}

/* ---- the owner between the barriers ---- */

static void *found[COLD];

static void call_slowly(void)
{
    size_t calls = wr_load_relaxed(&owner->slow_calls);
    wr_cache_entry *before = top();
    found[0] = wr_cache_refill(owner, class);
    CHECK(found[0] != NULL && wr_cache_take_batch(owner, class, 4, found + 1) == 1);
    void *aside;
    take_direct(1, &aside);
    wr_cache_overflow(owner, class, aside, "free");
    CHECK(is_free_in_slab(aside));
    wr_cache_drain(owner);
    wr_cache_leave_slabs(owner);
    CHECK(top() == before);
    CHECK(wr_load_relaxed(&owner->slow_calls) == calls + 3); /* for who asks if it is idle */
    CHECK(wr_load_relaxed(&owner->busy) == 0);
}

static void test_slow_calls_go_past_a_cache_that_a_thief_has(void **state)
{
    (void)state;
    fill(64, COLD);
    for (unsigned call = 0; call < 2; call++) {
        barrier.between[call] = call_slowly;
        assert_int_equal(steal(), WR_STEAL_DONE);
        barrier.between[call] = NULL;
        for (unsigned i = 0; i < 2; i++) {
            assert_false(is_free_in_slab(found[i]));
            wr_return(1, &found[i], "free");
        }
    }
    assert_int_equal(length(), 1);
}

/* Base is raised: nothing is there to be popped; what is pushed can be. */
static void push_and_pop(void)
{
    CHECK(length() == 0);
    void *block = get();
    CHECK(length() == 0); /* past the cache */
    give(block);
    CHECK(length() == 1 && get() == block);
    give(block);
    found[0] = block;
}

static void test_owner_pushes_and_pops_above_the_raised_base(void **state)
{
    (void)state;
    fill(64, 4);
    barrier.between[1] = push_and_pop;
    assert_int_equal(steal(), WR_STEAL_DONE);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(is_free_in_slab(blocks[i])); /* none of these was the newest any more */
    }
    assert_int_equal(length(), 1);
    assert_int_equal(place_of_base(), 4);
    assert_ptr_equal(get(), found[0]);
    give(found[0]);
}

static void pop_three(void)
{
    for (unsigned i = 0; i < 3; i++) {
        found[i] = get();
    }
}

static void test_owner_pops_before_base_is_raised(void **state)
{
    (void)state;
    fill(64, COLD);
    barrier.between[0] = pop_three;
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 1);
    assert_ptr_equal(wr_load_relaxed(base()), blocks[COLD - 4]);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(found[i], blocks[COLD - 1 - i]);
        give(found[i]);
    }
}

/* Calls that had looked at base before it was raised, and that land before the second barrier. */
static void pop_three_by_the_old_base(void)
{
    for (unsigned i = 0; i < 3; i++) {
        wr_store_release(&owner->top[class], top() - 1);
        found[i] = wr_load_relaxed(top());
    }
}

static void test_owner_pops_by_the_old_base_until_the_barrier(void **state)
{
    (void)state;
    fill(64, COLD);
    barrier.between[1] = pop_three_by_the_old_base;
    assert_int_equal(steal(), WR_STEAL_DONE);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(found[i], blocks[COLD - 1 - i]);
        assert_false(is_free_in_slab(found[i]));
    }
    assert_int_equal(length(), 1);
    assert_ptr_equal(wr_load_relaxed(base()), blocks[COLD - 4]);
    for (unsigned i = 0; i < 3; i++) {
        give(found[i]);
    }
}

static void pop_all_by_the_old_base(void)
{
    for (unsigned i = 0; i < COLD; i++) {
        wr_store_release(&owner->top[class], top() - 1);
        found[i] = wr_load_relaxed(top());
    }
}

static void test_owner_pops_all_by_the_old_base_nothing_is_taken(void **state)
{
    (void)state;
    fill(64, COLD);
    barrier.between[1] = pop_all_by_the_old_base;
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 0);
    assert_int_equal(place_of_base(), 0);
    for (unsigned i = 0; i < COLD; i++) {
        assert_false(is_free_in_slab(found[i]));
        give(found[i]);
    }
}

static void test_pop_in_flight_across_the_steal_gets_its_block(void **state)
{
    (void)state;
    fill(64, COLD);
    wr_cache_entry *seen = top(); /* and base was below */
    assert_int_equal(steal(), WR_STEAL_DONE);
    void *block = wr_load_relaxed(seen - 1);
    wr_store_release(&owner->top[class], seen - 1);
    assert_ptr_equal(block, blocks[COLD - 1]);
    assert_false(is_free_in_slab(block));
    assert_int_equal(length(), 0);
    wr_cache_assert_valid(owner);
    give(block);
}

static void test_push_in_flight_across_the_steal_keeps_its_block(void **state)
{
    (void)state;
    fill(64, 4);
    void *block;
    take_direct(1, &block);
    wr_cache_entry *seen = top();
    assert_int_equal(steal(), WR_STEAL_DONE);
    wr_store_relaxed(seen, block);
    wr_store_release(&owner->top[class], seen + 1);
    assert_int_equal(length(), 2);
    assert_ptr_equal(get(), block);
    assert_ptr_equal(get(), blocks[3]);
    give(blocks[3]);
    give(block);
}

/* ---- the child of a fork in the middle ---- */

static void settle_in_child(void *parked)
{
    (void)parked;
    wr_steal_reset_after_fork();
    wr_cache_settle(owner);
    CHECK(wr_load_relaxed(&owner->thief) == 0 && wr_load_relaxed(&owner->busy) == 0);
    CHECK(length() == COLD && place_of_base() == 0);
    for (unsigned i = 0; i < COLD; i++) {
        CHECK(wr_load_relaxed(base() + i) == blocks[i]);
    }
    CHECK(wr_steal(owner_only) == WR_STEAL_DONE);
    CHECK(length() == 1);
}

static struct outcome child_outcome;

static void fork_in_between(void)
{
    is_scripted = false;
    run_child(settle_in_child, NULL, &child_outcome);
    is_scripted = true;
}

static void test_settle_in_a_child_undoes_what_a_thief_had_begun(void **state)
{
    (void)state;
    fill(64, COLD);
    for (unsigned call = 0; call < 2; call++) {
        barrier.between[call] = fork_in_between;
        assert_int_equal(steal(), WR_STEAL_DONE);
        barrier.between[call] = NULL;
        assert_clean_exit(&child_outcome);
        wr_cache_drain(owner);
        wr_return(1, &held, "free");
        fill(64, COLD);
    }
}

static void test_settle_closes_the_gap_of_blocks_that_were_taken(void **state)
{
    (void)state;
    fill(64, COLD);
    wr_store_relaxed(&owner->thief, 1);
    void *taken[3];
    for (unsigned i = 0; i < 3; i++) {
        taken[i] = blocks[i];
        wr_store_relaxed(wr_cache_array(owner, class) + i, NULL);
    }
    wr_store_relaxed(&owner->base[class], top());
    wr_cache_settle(owner);
    assert_int_equal(place_of_base(), 0);
    assert_int_equal(length(), COLD - 3);
    for (unsigned i = 3; i < COLD; i++) {
        assert_ptr_equal(wr_load_relaxed(base() + i - 3), blocks[i]);
    }
    wr_return(3, taken, "free");
}

/* ---- sparse classes ---- */

static void set_sparse(unsigned sparse)
{
    wr_store_relaxed(&wr_heap_default.bins[class].sparse, sparse);
}

static void test_bin_of_a_sparse_class_is_closed_by_the_next_slow_call(void **state)
{
    (void)state;
    fill(64, COLD - 1);
    void *more[3];
    take_direct(3, more);
    set_sparse(1);
    give(more[0]); /* the last place; the fast path knows nothing of it */
    assert_int_equal(length(), COLD);
    give(more[1]);
    assert_true(is_free_in_slab(more[1]));
    assert_ptr_equal(owner->end[class], wr_cache_array(owner, class));
    assert_int_equal(length(), COLD);
    wr_cache_assert_valid(owner);
    assert_ptr_equal(get(), more[0]); /* what is there is used */
    give(more[0]);
    assert_true(is_free_in_slab(more[0]));
    assert_int_equal(length(), COLD - 1);
    give(more[2]);
    assert_true(is_free_in_slab(more[2]));
}

static void test_closed_bin_is_refilled_and_stays_closed(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    set_sparse(1);
    void *first = get();
    unsigned brought = length();
    assert_true(brought > 0);
    assert_ptr_equal(owner->end[class], wr_cache_array(owner, class));
    void *second = get();
    assert_int_equal(length(), brought - 1);
    give(second);
    assert_true(is_free_in_slab(second));
    assert_int_equal(length(), brought - 1);
    give(first);
    assert_true(is_free_in_slab(first));
}

static void test_closed_bin_is_opened_when_its_class_is_dense_again(void **state)
{
    (void)state;
    fill(64, 4);
    void *more[2];
    take_direct(2, more);
    set_sparse(1);
    wr_cache_drain(owner);
    void *block = get();
    assert_ptr_equal(owner->end[class], wr_cache_array(owner, class));
    unsigned before = length();
    set_sparse(0);
    give(block); /* full: the slow call that opens it */
    assert_int_equal(length(), before + 1);
    assert_ptr_equal(owner->end[class], wr_cache_array(owner, class) + owner->capacity[class]);
    give(more[0]);
    assert_int_equal(length(), before + 2);
    give(more[1]);
}

static void test_steal_from_a_closed_bin(void **state)
{
    (void)state;
    class = wr_size_class_of(64);
    set_sparse(1);
    void *block = get();
    assert_true(length() > 1);
    assert_int_equal(steal(), WR_STEAL_DONE);
    assert_int_equal(length(), 1);
    assert_ptr_equal(owner->end[class], wr_cache_array(owner, class));
    wr_cache_assert_valid(owner);
    give(block);
    assert_true(is_free_in_slab(block));
}

/* ---- threads: owners at full speed, a thief that never rests ---- */

enum {
    OWNERS = 3,
    THIEVES = 2,
    LIVE = 300,
    ROUNDS = TEST_SCALE(2000000, 100000),
    MAIL = 64,
};

static const size_t sizes[] = {16, 64, 64, 64, 512, 2048, 8192};
static _Atomic unsigned owners_left;
static _Atomic size_t sweeps;
static _Atomic(void *) mail[MAIL];

static void sweep_all_the_time(void)
{
    while (wr_load_relaxed(&owners_left) != 0) {
        wr_steal_result result = wr_steal(any);
        CHECK(result == WR_STEAL_DONE || result == WR_STEAL_BUSY);
        if (result == WR_STEAL_DONE) {
            (void)wr_fetch_add_relaxed(&sweeps, 1);
        }
    }
}

/* A block that was handed out says so in its first word, and who has it in the second; plainly, so
 * that a race detector watches. */
#define OUT 0x6f7574206f757420u

static void check_out(void *block, uint64_t number)
{
    uint64_t *words = block;
    CHECK(words[0] != OUT);
    words[0] = OUT;
    words[1] = number;
}

static void check_in(void *block, uint64_t number)
{
    uint64_t *words = block;
    CHECK(words[0] == OUT && words[1] == number);
    words[0] = 0;
    weir_free(block);
}

/* Phases of few and of many live blocks: the stacks go up and down, within and past their ends. */
static void allocate(unsigned number, uint64_t *random)
{
    void *live[LIVE];
    unsigned count = 0;
    /* Until a thief has been there, however few processors there are. */
    for (unsigned round = 0; round < ROUNDS || wr_load_relaxed(&sweeps) == 0; round++) {
        bool growing = round / 1000 % 2 == 0;
        uint64_t draw = random_next(random);
        if (count == 0 || (count < LIVE && draw % 8 < (growing ? 5u : 3u))) {
            live[count] = weir_malloc(sizes[draw / 8 % COUNT_OF(sizes)]);
            CHECK(live[count] != NULL);
            check_out(live[count], number);
            count++;
        } else if (draw % 64 == 7) {
            uint64_t *words = live[--count];
            CHECK(words[0] == OUT && words[1] == number);
            words[1] = 0; /* nobody's, on its way */
            void *block = wr_exchange_acq_rel(&mail[draw / 64 % MAIL], (void *)words);
            if (block != NULL) {
                check_in(block, 0);
            }
        } else {
            check_in(live[--count], number);
        }
    }
    while (count > 0) {
        check_in(live[--count], number);
    }
}

static void own_or_steal(unsigned number, uint64_t *random)
{
    if (number < OWNERS) {
        allocate(number + 1, random);
        (void)wr_fetch_sub_relaxed(&owners_left, 1);
    } else {
        sweep_all_the_time();
    }
}

static void test_threads_beside_thieves_get_each_block_once_and_lose_none(void **state)
{
    (void)state;
    wr_store_relaxed(&owners_left, OWNERS);
    crew_run(OWNERS + THIEVES, test_seed(), own_or_steal);
    assert_true(wr_load_relaxed(&sweeps) > 0);
    for (unsigned i = 0; i < MAIL; i++) {
        void *block = wr_exchange_acq_rel(&mail[i], NULL);
        if (block != NULL) {
            check_in(block, 0);
        }
    }
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache_assert_valid(wr_cache_at(i));
        wr_cache_drain(wr_cache_at(i));
    }
    /* tear_down finds every block back in its slab. */
}

/* Nothing in the background: what is done here is all there is. */
static int stay_alone(void **state)
{
    (void)state;
    char setting[] = "WEIR_BACKGROUND=0";
    char *const environment[] = {setting, NULL};
    wr_options_parse(environment);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_steal_takes_all_but_the_newest_block),
        CASE(test_steal_twice_takes_no_more),
        CASE(test_steal_after_a_steal_takes_what_was_freed_since),
        CASE(test_steal_of_one_block_or_none_leaves_the_bin_as_it_is),
        CASE(test_steal_of_a_hot_bin_takes_more_than_a_batch),
        CASE(test_steal_takes_from_every_class),
        CASE(test_steal_gives_the_slabs_up),
        CASE(test_steal_asks_once_for_each_cache),
        CASE(test_refill_after_a_steal_moves_the_bin_to_the_start_of_its_array),
        CASE(test_overflow_after_a_steal_uses_the_places_below),
        CASE(test_drain_after_a_steal_returns_the_rest),
        CASE(test_slow_call_after_a_steal_lets_all_bins_cool_down),
        CASE(test_first_free_after_a_steal_is_a_slow_call_that_opens_the_bin),
        CASE(test_refill_of_a_bin_that_is_not_empty_returns_the_block_that_is_there),
        CASE(test_busy_cache_is_let_go),
        CASE(test_second_thief_finds_the_first_at_it),
        CASE(test_steal_without_the_first_barrier_changes_nothing),
        CASE(test_steal_without_the_second_barrier_takes_no_block),
        CASE(test_steal_in_a_kernel_without_membarrier_changes_nothing),
        CASE(test_slow_calls_go_past_a_cache_that_a_thief_has),
        CASE(test_owner_pushes_and_pops_above_the_raised_base),
        CASE(test_owner_pops_before_base_is_raised),
        CASE(test_owner_pops_by_the_old_base_until_the_barrier),
        CASE(test_owner_pops_all_by_the_old_base_nothing_is_taken),
        CASE(test_pop_in_flight_across_the_steal_gets_its_block),
        CASE(test_push_in_flight_across_the_steal_keeps_its_block),
        CASE(test_settle_in_a_child_undoes_what_a_thief_had_begun),
        CASE(test_settle_closes_the_gap_of_blocks_that_were_taken),
        CASE(test_bin_of_a_sparse_class_is_closed_by_the_next_slow_call),
        CASE(test_closed_bin_is_refilled_and_stays_closed),
        CASE(test_closed_bin_is_opened_when_its_class_is_dense_again),
        CASE(test_steal_from_a_closed_bin),
        CASE(test_threads_beside_thieves_get_each_block_once_and_lose_none),
    };
    return cmocka_run_group_tests_name("steal", tests, stay_alone, NULL);
}
