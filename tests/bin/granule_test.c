/* Granules: which parts of a slab give their page frames up, which come back, and what is charged
 * at each step, for every class, against a model that looks at each block. */
#include "bin/granule.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "bin/slab.h"
#include "crew.h"
#include "os/host.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page/slice.h"
#include "scarce.h"
#include "support.h"

#define MODEL_STEPS  TEST_SCALE(300, 60) /* of a class */
#define STORM_ROUNDS TEST_SCALE(8000, 2000)
#define THREADS      4

/* A slab that is the case's own, and who has its blocks. */
static struct {
    wr_span *slab;
    unsigned shift;
    unsigned granules;
    size_t committed; /* before it was opened, without its slices */
    size_t absent;    /* bytes, the statistic, likewise */
    bool is_out[WR_SLAB_BLOCKS_MAX];
    uint64_t tag[WR_SLAB_BLOCKS_MAX];
} own;

static void *blocks[WR_SLAB_BLOCKS_MAX];

static size_t granule_bytes(void)
{
    return (size_t)1 << own.shift;
}

static uint32_t all_granules(void)
{
    return (uint32_t)wr_mask(0, own.granules);
}

static size_t bytes_of(uint32_t granules)
{
    return (size_t)wr_count_bits(granules) << own.shift;
}

static unsigned index_of(const void *block)
{
    size_t offset = (uintptr_t)block - own.slab->start;
    CHECK(offset % own.slab->block_bytes == 0);
    CHECK(offset / own.slab->block_bytes < own.slab->blocks);
    return (unsigned)(offset / own.slab->block_bytes);
}

static void *block_at(unsigned index)
{
    return (void *)(own.slab->start + (size_t)index * own.slab->block_bytes);
}

static void open_slab(unsigned class)
{
    bool zero;
    size_t slices = wr_size_classes[class].slices;
    memset(&own, 0, sizeof own);
    (void)wr_purge_slices(0);
    own.absent = wr_granule_absent_bytes();
    own.committed = wr_commit_bytes();
    uintptr_t start = wr_extent_claim(slices, &zero);
    assert_int_not_equal(start, 0);
    assert_int_equal(wr_commit_bytes(), own.committed + slices * WR_SLICE_BYTES);
    own.slab = wr_slab_open(start, class, NULL);
    assert_non_null(own.slab);
    own.shift = wr_granule_shift(own.slab->bytes);
    own.granules = (unsigned)(own.slab->bytes >> own.shift);
    memset((void *)start, 0xa5, own.slab->bytes); /* page frames everywhere */
}

/* Charges and the statistic are what the mask says, at any time. */
static void check_charge(void)
{
    size_t absent = bytes_of(wr_granule_absent(own.slab));
    assert_int_equal(wr_commit_bytes(), own.committed + own.slab->bytes - absent);
    assert_int_equal(wr_granule_absent_bytes(), own.absent + absent);
    assert_int_equal(wr_granule_absent(own.slab) & own.slab->stale, 0);
    assert_int_equal((wr_granule_absent(own.slab) | own.slab->stale) & ~all_granules(), 0);
}

/* The granules that some byte of a block lies in, one granule after the other. */
static uint32_t model_mask(unsigned index)
{
    size_t first = (size_t)index * own.slab->block_bytes;
    size_t end = first + own.slab->block_bytes;
    uint32_t mask = 0;
    for (unsigned g = 0; g < own.granules; g++) {
        if (first < (g + 1) * granule_bytes() && end > g * granule_bytes()) {
            mask |= (uint32_t)1 << g;
        }
    }
    return mask;
}

/* The granules without a block in use. */
static uint32_t model_free(void)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < own.slab->blocks; i++) {
        used |= own.is_out[i] ? model_mask(i) : 0;
    }
    return all_granules() & ~used;
}

/* The granules of a mask that have a page frame. */
static uint32_t granules_resident(void)
{
    unsigned char pages[WR_SLAB_SLICES_MAX * 16];
    size_t page = wr_host_page_bytes();
    uint32_t resident = 0;
    CHECK(own.slab->bytes / page <= sizeof pages);
    CHECK(mincore((void *)own.slab->start, own.slab->bytes, pages) == 0);
    for (size_t p = 0; p < own.slab->bytes / page; p++) {
        resident |= (uint32_t)(pages[p] & 1) << (p * page >> own.shift);
    }
    return resident;
}

/* What a block in use holds, at both ends of each of its pages. */
static void fill(unsigned index, uint64_t tag)
{
    own.tag[index] = tag;
    pattern_fill(block_at(index), own.slab->block_bytes, tag);
}

static void check_blocks(void)
{
    for (unsigned i = 0; i < own.slab->blocks; i++) {
        assert_true(!own.is_out[i] ||
                    pattern_holds(block_at(i), own.slab->block_bytes, own.tag[i]));
    }
}

/* Takes up to `most` blocks, which lie on no absent granule then; how many, or REFUSED. */
static unsigned take(unsigned most)
{
    unsigned got = wr_slab_take(own.slab, most, blocks);
    for (unsigned i = 0; i < got && got != WR_SLAB_REFUSED; i++) {
        unsigned index = index_of(blocks[i]);
        assert_false(own.is_out[index]);
        assert_int_equal(model_mask(index) & (wr_granule_absent(own.slab) | own.slab->stale), 0);
        own.is_out[index] = true;
        fill(index, 1000 + index);
    }
    return got;
}

static unsigned take_all(void)
{
    unsigned taken = 0;
    unsigned got;
    while ((got = take(WR_BATCH_BLOCKS)) != 0) {
        assert_int_not_equal(got, WR_SLAB_REFUSED);
        taken += got;
    }
    return taken;
}

static void put(unsigned index)
{
    wr_slab_place place;
    assert_true(own.is_out[index]);
    assert_true(wr_slab_locate(own.slab, (uintptr_t)block_at(index), &place));
    assert_int_equal(wr_slab_put(own.slab, place.word, place.bit), 0);
    assert_int_equal(wr_slab_add(own.slab, 1), WR_SLAB_DUTY_NONE);
    own.is_out[index] = false;
}

static void put_all(void)
{
    for (unsigned i = 0; i < own.slab->blocks; i++) {
        if (own.is_out[i]) {
            put(i);
        }
    }
}

/* Puts the blocks that have a byte in some of these granules. */
static void put_those_in(uint32_t granules)
{
    for (unsigned i = 0; i < own.slab->blocks; i++) {
        if (own.is_out[i] && (model_mask(i) & granules) != 0) {
            put(i);
        }
    }
}

/* Gives the slices back; returns how many were dirty then, and checks the charge. */
static size_t release(void)
{
    put_all();
    size_t slices = wr_span_slices(own.slab);
    uintptr_t start = own.slab->start;
    size_t dirty = wr_slice_dirty_count();
    wr_slab_assert_valid(own.slab);
    wr_span_close(own.slab);
    wr_granule_release(own.slab, slices);
    dirty = wr_slice_dirty_count() - dirty;
    assert_true(dirty == 0 || dirty == slices);
    assert_int_equal(wr_granule_absent_bytes(), own.absent);
    assert_int_equal(wr_commit_bytes(), own.committed + dirty * WR_SLICE_BYTES);
    bool zero;
    assert_true(wr_slice_claim_at(start, slices, &zero));
    assert_int_equal(zero, dirty == 0);
    assert_true(!zero || all_zero((void *)start, slices * WR_SLICE_BYTES));
    wr_slice_release(start, slices);
    return dirty;
}

/* Purges, and checks all that a look may change against the model. */
static size_t purge(bool at_once)
{
    uint32_t absent = wr_granule_absent(own.slab);
    uint32_t present = model_free() & ~absent;
    uint32_t purged = at_once ? present : present & own.slab->stale;
    errno = ERRNO_UNUSED;
    size_t bytes = wr_granule_purge(own.slab, at_once);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(bytes, bytes_of(purged));
    assert_int_equal(wr_granule_absent(own.slab), absent | purged);
    assert_int_equal(own.slab->stale, present & ~purged);
    check_charge();
    return bytes;
}

/* ---- shape ---- */

static void test_shift_is_a_32nd_of_the_slab_and_a_page_at_least(void **state)
{
    (void)state;
    size_t page = wr_host_page_bytes();
    for (size_t slices = 1; slices <= WR_SLAB_SLICES_MAX; slices++) {
        size_t bytes = slices * WR_SLICE_BYTES;
        size_t granule = (size_t)1 << wr_granule_shift(bytes);
        assert_true(granule >= page);
        assert_int_equal(bytes % granule, 0);
        assert_true(bytes / granule <= 32);
        assert_true(granule == page || bytes / (granule / 2) > 32); /* no larger than need be */
    }
}

static void test_mask_of_every_block_is_where_its_bytes_are(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        for (unsigned i = 0; i < own.slab->blocks; i++) {
            uint32_t offset = i * own.slab->block_bytes;
            assert_int_equal(wr_granule_mask(own.slab, own.shift, offset), model_mask(i));
        }
        release();
    }
}

static void test_touch_takes_granules_out_of_the_stale_ones(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(1024));
    own.slab->stale = 0xff;
    wr_granule_touch(own.slab, 0x11);
    assert_int_equal(own.slab->stale, 0xee);
    wr_granule_touch(own.slab, 0x111);
    assert_int_equal(own.slab->stale, 0xee);
    own.slab->stale = 0;
    release();
}

/* ---- purge ---- */

/* Each block stays out with a chance of one in `chance`. */
static void keep_some_out(uint64_t *random, uint64_t chance)
{
    (void)take_all();
    for (unsigned i = 0; i < own.slab->blocks; i++) {
        if (random_next(random) % chance != 0) {
            put(i);
        } else {
            fill(i, random_next(random));
        }
    }
}

static void test_purge_at_once_takes_the_granules_without_a_block_in_use(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static const uint64_t chances[] = {2, 7, 40, 300};
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        for (unsigned c = 0; c < COUNT_OF(chances); c++) {
            open_slab(class);
            keep_some_out(&random, chances[c]);
            assert_int_equal(granules_resident(), all_granules());
            uint32_t expected = model_free();
            purge(true);
            assert_int_equal(wr_granule_absent(own.slab), expected);
            assert_int_equal(granules_resident(), all_granules() & ~expected);
            check_blocks();
            assert_int_equal(purge(true), 0); /* no more to be had */
            assert_int_equal(purge(false), 0);
            assert_int_equal(own.slab->stale, 0);
            assert_int_equal(granules_resident(), all_granules() & ~expected);
            wr_slab_assert_valid(own.slab);
            release();
        }
    }
}

static void test_purge_of_a_slab_without_a_free_block_takes_nothing(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        (void)take_all();
        assert_int_equal(purge(true), 0);
        assert_int_equal(purge(false), 0);
        assert_int_equal(purge(false), 0);
        check_blocks();
        release();
    }
}

static void test_purge_of_a_slab_all_whose_blocks_are_free_takes_it_all(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        assert_int_equal(purge(true), own.slab->bytes);
        assert_int_equal(granules_resident(), 0);
        assert_int_equal(wr_commit_bytes(), own.committed);
        assert_int_equal(release(), 0);
    }
}

static void test_purge_of_what_is_in_use_by_one_byte_of_a_granule_is_left_out(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        unsigned step = own.slab->blocks / 20 + 1;
        for (unsigned kept = 0; kept < own.slab->blocks; kept += step) {
            (void)take_all();
            for (unsigned i = 0; i < own.slab->blocks; i++) {
                if (i != kept) {
                    put(i);
                }
            }
            purge(true);
            assert_int_equal(wr_granule_absent(own.slab), all_granules() & ~model_mask(kept));
            check_blocks();
        }
        release();
    }
}

/* ---- two looks ---- */

static void test_purge_of_what_is_free_at_two_looks_comes_with_the_second(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        keep_some_out(&random, 100);
        uint32_t expected = model_free();
        assert_int_equal(purge(false), 0);
        assert_int_equal(own.slab->stale, expected);
        assert_int_equal(granules_resident(), all_granules());
        assert_int_equal(purge(false), bytes_of(expected));
        assert_int_equal(wr_granule_absent(own.slab), expected);
        assert_int_equal(own.slab->stale, 0);
        assert_int_equal(granules_resident(), all_granules() & ~expected);
        check_blocks();
        release();
    }
}

static void test_purge_of_what_was_used_between_two_looks_waits_for_a_third(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        assert_int_equal(purge(false), 0);
        assert_int_equal(own.slab->stale, all_granules());
        assert_int_equal(take(1), 1); /* the lowest, and back */
        uint32_t touched = model_mask(0);
        assert_int_equal(own.slab->stale, all_granules() & ~touched);
        put(0);
        assert_int_equal(purge(false), bytes_of(all_granules() & ~touched));
        assert_int_equal(own.slab->stale, touched);
        assert_int_equal(granules_resident(), touched);
        assert_int_equal(purge(false), bytes_of(touched));
        assert_int_equal(wr_granule_absent(own.slab), all_granules());
        assert_int_equal(release(), 0);
    }
}

static void test_purge_of_what_became_free_after_a_look_waits_for_a_third(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(4096));
    (void)take_all();
    put_those_in(1u << 3 | 1u << 4);
    assert_int_equal(purge(false), 0);
    put_those_in(1u << 5 | 1u << 9);
    assert_int_equal(purge(false), bytes_of(1u << 3 | 1u << 4));
    assert_int_equal(own.slab->stale, 1u << 5 | 1u << 9);
    assert_int_equal(purge(false), bytes_of(1u << 5 | 1u << 9));
    check_blocks();
    release();
}

static void test_purge_at_once_takes_stale_and_other_granules_alike(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(4096));
    (void)take_all();
    put_those_in(1u << 3);
    assert_int_equal(purge(false), 0);
    put_those_in(1u << 7);
    assert_int_equal(purge(true), bytes_of(1u << 3 | 1u << 7));
    assert_int_equal(own.slab->stale, 0);
    release();
}

static void test_all_stale_is_told_after_a_look_at_a_slab_of_free_blocks(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        assert_false(wr_granule_all_stale(own.slab));
        assert_int_equal(purge(false), 0);
        assert_true(wr_granule_all_stale(own.slab));
        assert_int_equal(take(1), 1);
        put(0);
        assert_false(wr_granule_all_stale(own.slab));
        (void)purge(false); /* the rest is absent now, what was used is stale */
        assert_true(wr_granule_all_stale(own.slab));
        (void)purge(true);
        assert_true(wr_granule_all_stale(own.slab));
        release();
    }
}

/* ---- taking blocks of absent granules ---- */

/* Blocks of present granules come first and in order, then the absent ones come back one by one,
 * lowest first, and only as far as they are needed. */
static void test_take_comes_to_absent_granules_last_and_charges_each(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        keep_some_out(&random, own.slab->blocks / 8 + 2);
        purge(true);
        unsigned most = own.slab->blocks > 500 ? 37 : 1;
        unsigned before = 0;
        bool came_back = false;
        unsigned got;
        do {
            uint32_t absent = wr_granule_absent(own.slab);
            unsigned on_present = 0;
            for (unsigned i = 0; i < own.slab->blocks; i++) {
                on_present += !own.is_out[i] && (model_mask(i) & absent) == 0;
            }
            got = take(most);
            uint32_t back = absent & ~wr_granule_absent(own.slab);
            check_charge();
            assert_int_equal(wr_granule_absent(own.slab) & ~absent, 0);
            assert_int_equal(back != 0, got > on_present);
            /* The lowest: none that is still absent lies below one that came back. */
            assert_true(back == 0 || wr_granule_absent(own.slab) == 0 ||
                        wr_lowest_bit(wr_granule_absent(own.slab)) >
                            31u - (unsigned)__builtin_clz(back));
            for (unsigned i = 0; i < got; i++) {
                unsigned index = index_of(blocks[i]);
                assert_int_equal((model_mask(index) & absent) != 0, i >= on_present);
                assert_true(came_back || i >= on_present || i == 0 || index > before);
                before = index;
            }
            came_back = came_back || back != 0;
        } while (got != 0);
        assert_int_equal(wr_granule_absent(own.slab), 0);
        assert_int_equal(wr_commit_bytes(), own.committed + own.slab->bytes);
        check_blocks();
        assert_int_equal(release(), wr_size_classes[class].slices);
    }
}

static void test_take_of_purged_blocks_finds_zeros(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(512));
    purge(true);
    for (unsigned done = 0; done < own.slab->blocks;) {
        unsigned got = wr_slab_take(own.slab, WR_BATCH_BLOCKS, blocks);
        assert_true(got > 0 && got <= WR_BATCH_BLOCKS);
        for (unsigned i = 0; i < got; i++) {
            assert_true(all_zero(blocks[i], 512));
            own.is_out[index_of(blocks[i])] = true;
        }
        done += got;
    }
    release();
}

static void test_bring_back_charges_the_lowest_absent_granule(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(4096));
    (void)take_all();
    put_those_in(1u << 2 | 1u << 5 | 1u << 6);
    purge(true);
    assert_true(wr_granule_bring_back(own.slab));
    assert_int_equal(wr_granule_absent(own.slab), 1u << 5 | 1u << 6);
    check_charge();
    assert_true(wr_granule_bring_back(own.slab));
    assert_int_equal(wr_granule_absent(own.slab), 1u << 6);
    check_charge();
    /* Not used after all: the next looks give them back as any other. */
    assert_int_equal(purge(false), 0);
    assert_int_equal(own.slab->stale, 1u << 2 | 1u << 5);
    assert_int_equal(purge(false), bytes_of(1u << 2 | 1u << 5));
    release();
}

/* ---- the hard limit ---- */

static void set_room(size_t bytes)
{
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes() + bytes);
}

static void lift_limit(void)
{
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
}

static void test_take_over_the_limit_gives_present_blocks_and_then_is_refused(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        keep_some_out(&random, own.slab->blocks / 2 + 1);
        purge(true);
        uint32_t absent = wr_granule_absent(own.slab);
        set_room(0);
        unsigned got;
        while ((got = take(WR_BATCH_BLOCKS)) != WR_SLAB_REFUSED && got != 0) {
        }
        assert_int_equal(wr_granule_absent(own.slab), absent);
        assert_int_equal(got, absent == 0 ? 0 : WR_SLAB_REFUSED);
        int64_t count = wr_slab_count_racy(own.slab);
        for (unsigned i = 0; i < 3 && got == WR_SLAB_REFUSED; i++) { /* again and again */
            errno = ERRNO_UNUSED;
            assert_int_equal(take(1), WR_SLAB_REFUSED);
            assert_int_equal(errno, ERRNO_UNUSED);
            assert_int_equal(wr_granule_absent(own.slab), absent);
            assert_int_equal(wr_slab_count_racy(own.slab), count);
            wr_slab_assert_valid(own.slab);
            check_charge();
        }
        lift_limit();
        (void)take_all();
        assert_int_equal(wr_slab_count_racy(own.slab), 0); /* nothing was lost */
        check_blocks();
        check_charge();
        release();
    }
}

static void test_take_with_room_for_some_granules_gives_their_blocks(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        for (unsigned room = 1; room < 6; room++) {
            open_slab(class);
            purge(true);
            set_room(room * granule_bytes() + granule_bytes() / 2);
            unsigned taken = 0;
            unsigned got;
            while ((got = take(WR_BATCH_BLOCKS)) != WR_SLAB_REFUSED && got != 0) {
                taken += got;
            }
            unsigned whole = 0; /* blocks that end within the first granules */
            for (unsigned i = 0; i < own.slab->blocks; i++) {
                whole += (model_mask(i) >> room) == 0;
            }
            assert_int_equal(taken, whole);
            assert_int_equal(got, WR_SLAB_REFUSED);
            assert_int_equal(wr_granule_absent(own.slab),
                             all_granules() & ~(uint32_t)wr_mask(0, room));
            check_charge();
            check_blocks();
            /* What was brought back in vain is free, and goes again. */
            put_all();
            assert_int_equal(purge(true), room * granule_bytes());
            lift_limit();
            assert_int_equal(release(), 0);
        }
    }
}

static void test_take_over_the_limit_makes_room_of_dirty_slices(void **state)
{
    (void)state;
    bool zero;
    open_slab(wr_size_class_of(4096));
    purge(true);
    uintptr_t other = wr_extent_claim(1, &zero);
    assert_int_not_equal(other, 0);
    memset((void *)other, 1, WR_SLICE_BYTES);
    wr_slice_release(other, 1);
    assert_int_equal(wr_slice_dirty_count(), 1);
    set_room(0);
    assert_int_equal(take(1), 1);
    lift_limit();
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_int_equal(bytes_of(all_granules() & ~wr_granule_absent(own.slab)), granule_bytes());
    check_charge();
    release();
}

/* ---- a kernel that refuses ---- */

static void test_purge_refused_changes_nothing_but_the_marks(void **state)
{
    (void)state;
    static const bool manners[] = {true, false};
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        for (unsigned m = 0; m < COUNT_OF(manners); m++) {
            open_slab(class);
            assert_int_equal(take(1), 1);
            uint32_t free = model_free();
            own.slab->stale = free;
            fault_refuse(FAULT_MADVISE);
            errno = ERRNO_UNUSED;
            size_t bytes = wr_granule_purge(own.slab, manners[m]);
            int error = errno;
            fault_refuse(0);
            assert_int_equal(bytes, 0);
            assert_int_equal(error, ERRNO_UNUSED);
            assert_int_equal(wr_granule_absent(own.slab), 0);
            assert_int_equal(own.slab->stale, free); /* so that the next look tries again */
            assert_int_equal(granules_resident(), all_granules());
            check_charge();
            assert_int_equal(purge(false), bytes_of(free));
            check_blocks();
            release();
        }
    }
}

static void test_purge_refused_for_one_run_takes_the_others(void **state)
{
    (void)state;
    const uint32_t runs[] = {3u << 1, 1u << 6, 7u << 10};
    for (unsigned refused = 0; refused < COUNT_OF(runs); refused++) {
        open_slab(wr_size_class_of(4096));
        (void)take_all();
        put_those_in(runs[0] | runs[1] | runs[2]);
        uint32_t expected = model_free() & ~runs[refused];
        fault_arm(FAULT_MADVISE, refused + 1, 1);
        size_t bytes = wr_granule_purge(own.slab, true);
        assert_int_equal(fault_counted(), COUNT_OF(runs)); /* a call for each run */
        fault_disarm();
        assert_int_equal(bytes, bytes_of(expected));
        assert_int_equal(wr_granule_absent(own.slab), expected);
        assert_int_equal(own.slab->stale, runs[refused]);
        assert_int_equal(granules_resident(), all_granules() & ~expected);
        check_charge();
        check_blocks();
        release();
    }
}

/* ---- release ---- */

static void test_release_without_absent_granules_leaves_dirty_slices(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        fault_arm(FAULT_MADVISE, 1, FAULT_FOREVER); /* not asked for */
        size_t dirty = release();
        assert_int_equal(fault_counted(), 0);
        fault_disarm();
        assert_int_equal(dirty, wr_size_classes[class].slices);
    }
}

static void test_release_with_absent_granules_leaves_zero_slices(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        keep_some_out(&random, own.slab->blocks / 3 + 1);
        purge(true);
        bool some = wr_granule_absent(own.slab) != 0;
        assert_int_equal(release(), some ? 0 : wr_size_classes[class].slices);
    }
}

static void test_release_that_cannot_be_purged_charges_what_was_absent(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        assert_int_equal(take(1), 1);
        purge(true);
        assert_int_not_equal(wr_granule_absent(own.slab), 0);
        fault_refuse(FAULT_MADVISE);
        size_t dirty = release();
        fault_refuse(0);
        assert_int_equal(dirty, wr_size_classes[class].slices);
        (void)wr_purge_slices(0);
        assert_int_equal(wr_commit_bytes(), own.committed);
    }
}

static void test_open_after_a_release_has_every_granule(void **state)
{
    (void)state;
    open_slab(wr_size_class_of(1024));
    assert_int_equal(take(1), 1);
    purge(true);
    put(0);
    purge(false);
    assert_int_not_equal(wr_granule_absent(own.slab), 0);
    assert_int_not_equal(own.slab->stale, 0);
    uintptr_t start = own.slab->start;
    release();
    open_slab(wr_size_class_of(1024));
    assert_int_equal(own.slab->start, start);
    assert_int_equal(wr_granule_absent(own.slab), 0);
    assert_int_equal(own.slab->stale, 0);
    check_charge();
    release();
}

/* ---- sequential model ---- */

static void model_step(uint64_t *random)
{
    uint64_t kind = random_next(random) % 16;
    if (kind < 6) {
        (void)take((unsigned)(random_next(random) % WR_BATCH_BLOCKS) + 1);
    } else if (kind < 12) {
        unsigned index = (unsigned)(random_next(random) % own.slab->blocks);
        unsigned count = (unsigned)(random_next(random) % (own.slab->blocks / 4 + 2));
        for (unsigned i = index; i < own.slab->blocks && i < index + count; i++) {
            if (own.is_out[i]) {
                put(i);
            }
        }
    } else if (kind < 15) {
        (void)purge(false);
        assert_int_equal(granules_resident() & wr_granule_absent(own.slab), 0);
    } else {
        (void)purge(true);
        assert_int_equal(granules_resident() & wr_granule_absent(own.slab), 0);
    }
}

static void test_model_random_steps_agree_for_every_class(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        open_slab(class);
        for (unsigned step = 0; step < MODEL_STEPS; step++) {
            model_step(&random);
            check_charge();
            if (step % 16 == 0) {
                check_blocks();
                wr_slab_assert_valid(own.slab);
            }
        }
        check_blocks();
        release();
    }
}

/* ---- threads ---- */

/* The owner takes blocks, writes them and sends them to others, who check them, spoil them and put
 * them back, while the owner purges what it sees free. A purge of a block in use shows as lost
 * contents; plain accesses are TSan's. */
enum { MAIL_SLOTS = 48, KEEP_BUSY = 8 };

static _Atomic(void *) mail[MAIL_SLOTS];
static unsigned mail_slots; /* in use: few enough for some blocks to stay free */
static _Atomic uint32_t owner_is_done;
static size_t purged_bytes;

static void put_by_anyone(void *block)
{
    wr_slab_place place;
    CHECK(wr_slab_locate(own.slab, (uintptr_t)block, &place));
    CHECK(wr_slab_put(own.slab, place.word, place.bit) == 0);
    (void)wr_slab_add(own.slab, 1);
}

static void check_and_put(void *block)
{
    CHECK(pattern_holds(block, own.slab->block_bytes, (uintptr_t)block));
    memset(block, 0x77, own.slab->block_bytes);
    put_by_anyone(block);
}

static unsigned send_blocks(uint64_t *random)
{
    void *out[KEEP_BUSY];
    unsigned got = wr_slab_take(own.slab, (unsigned)(random_next(random) % KEEP_BUSY) + 1, out);
    for (unsigned i = 0; i < got; i++) {
        pattern_fill(out[i], own.slab->block_bytes, (uintptr_t)out[i]);
        void *other = wr_exchange_acq_rel(&mail[random_next(random) % mail_slots], out[i]);
        if (other != NULL) {
            check_and_put(other);
        }
    }
    return got;
}

static void own_or_put(unsigned number, uint64_t *random)
{
    for (unsigned round = 0; number == 0 && round < STORM_ROUNDS; round++) {
        if (send_blocks(random) == 0) {
            sched_yield();
        }
        if (round % 16 == 0) {
            purged_bytes += wr_granule_purge(own.slab, random_next(random) % 2 == 0);
        }
        CHECK((wr_granule_absent(own.slab) & own.slab->stale) == 0);
    }
    while (number != 0 && wr_load_acquire(&owner_is_done) == 0) {
        void *block = wr_exchange_acq_rel(&mail[random_next(random) % mail_slots], NULL);
        if (block != NULL) {
            check_and_put(block);
        } else {
            sched_yield();
        }
    }
    if (number == 0) {
        wr_store_release(&owner_is_done, 1);
    }
}

static void test_threads_put_while_the_owner_purges_no_contents_are_lost(void **state)
{
    (void)state;
    static const size_t sizes[] = {128, 1536, 4096, 5120, 32768};
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        open_slab(wr_size_class_of(sizes[s]));
        wr_store_relaxed(&owner_is_done, 0);
        purged_bytes = 0;
        mail_slots = (unsigned)wr_min(MAIL_SLOTS, own.slab->blocks / 4);
        crew_run(THREADS, test_seed(), own_or_put);
        for (unsigned i = 0; i < MAIL_SLOTS; i++) {
            void *block = wr_exchange_acq_rel(&mail[i], NULL);
            if (block != NULL) {
                check_and_put(block);
            }
        }
        assert_true(purged_bytes > 0);
        assert_int_equal(wr_slab_count_racy(own.slab), own.slab->blocks);
        check_charge();
        release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shift_is_a_32nd_of_the_slab_and_a_page_at_least),
        cmocka_unit_test(test_mask_of_every_block_is_where_its_bytes_are),
        cmocka_unit_test(test_touch_takes_granules_out_of_the_stale_ones),
        cmocka_unit_test(test_purge_at_once_takes_the_granules_without_a_block_in_use),
        cmocka_unit_test(test_purge_of_a_slab_without_a_free_block_takes_nothing),
        cmocka_unit_test(test_purge_of_a_slab_all_whose_blocks_are_free_takes_it_all),
        cmocka_unit_test(test_purge_of_what_is_in_use_by_one_byte_of_a_granule_is_left_out),
        cmocka_unit_test(test_purge_of_what_is_free_at_two_looks_comes_with_the_second),
        cmocka_unit_test(test_purge_of_what_was_used_between_two_looks_waits_for_a_third),
        cmocka_unit_test(test_purge_of_what_became_free_after_a_look_waits_for_a_third),
        cmocka_unit_test(test_purge_at_once_takes_stale_and_other_granules_alike),
        cmocka_unit_test(test_all_stale_is_told_after_a_look_at_a_slab_of_free_blocks),
        cmocka_unit_test(test_take_comes_to_absent_granules_last_and_charges_each),
        cmocka_unit_test(test_take_of_purged_blocks_finds_zeros),
        cmocka_unit_test(test_bring_back_charges_the_lowest_absent_granule),
        cmocka_unit_test(test_take_over_the_limit_gives_present_blocks_and_then_is_refused),
        cmocka_unit_test(test_take_with_room_for_some_granules_gives_their_blocks),
        cmocka_unit_test(test_take_over_the_limit_makes_room_of_dirty_slices),
        cmocka_unit_test(test_purge_refused_changes_nothing_but_the_marks),
        cmocka_unit_test(test_purge_refused_for_one_run_takes_the_others),
        cmocka_unit_test(test_release_without_absent_granules_leaves_dirty_slices),
        cmocka_unit_test(test_release_with_absent_granules_leaves_zero_slices),
        cmocka_unit_test(test_release_that_cannot_be_purged_charges_what_was_absent),
        cmocka_unit_test(test_open_after_a_release_has_every_granule),
        cmocka_unit_test(test_model_random_steps_agree_for_every_class),
        cmocka_unit_test(test_threads_put_while_the_owner_purges_no_contents_are_lost),
    };
    return cmocka_run_group_tests_name("granule", tests, NULL, NULL);
}
