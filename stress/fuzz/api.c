/* libFuzzer target: bytes are calls of the whole API, over a shadow of what must hold: contents,
 * alignment, usable size, no overlap, errno.
 *
 * The first byte tells whether two threads share the rest, half each; they hand blocks to each
 * other through a box. Each call is an opcode, a slot, and what the opcode takes. A violation
 * aborts.
 */
#include "weir/weir.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS        32
#define BYTES_MAX    ((size_t)24 << 20)
#define STAMP_BYTES  ((size_t)512) /* at each end of a block */
#define ERRNO_UNUSED 4242

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

struct slot {
    uint8_t *block;
    size_t bytes;     /* asked for last */
    size_t alignment; /* asked for last; 0: by no aligned call */
    bool resizable;   /* free_sized may take `bytes` */
    uint8_t stamp;
};

struct machine {
    const uint8_t *next;
    const uint8_t *end;
    struct slot slots[SLOTS];
    uint8_t stamp;
};

/* A block without an owner, on its way to the other thread; its size is in its first word. */
static _Atomic(uint8_t *) box;

static unsigned take_byte(struct machine *m)
{
    return m->next < m->end ? *m->next++ : 0;
}

/* Sizes of every magnitude: an exponent and 8 bits of mantissa. */
static size_t take_size(struct machine *m)
{
    unsigned exponent = take_byte(m) % 25;
    size_t size = ((size_t)take_byte(m) << exponent) >> 8;
    return size < BYTES_MAX ? size : BYTES_MAX;
}

static size_t stamped(size_t bytes)
{
    return bytes < STAMP_BYTES ? bytes : STAMP_BYTES;
}

static void stamp(struct slot *slot, uint8_t value)
{
    slot->stamp = value;
    memset(slot->block, value, stamped(slot->bytes));
    memset(slot->block + slot->bytes - stamped(slot->bytes), value, stamped(slot->bytes));
}

static void check_run(const uint8_t *at, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++) {
        CHECK(at[i] == value);
    }
}

static void check_slot(const struct slot *slot)
{
    size_t n = stamped(slot->bytes);
    check_run(slot->block, n, slot->stamp);
    check_run(slot->block + slot->bytes - n, n, slot->stamp);
}

static void check_new(struct machine *m, struct slot *slot, bool zero)
{
    CHECK(errno == ERRNO_UNUSED);
    size_t natural = slot->bytes >= 16 ? 16 : 1;
    CHECK((uintptr_t)slot->block % natural == 0);
    CHECK(slot->alignment == 0 || (uintptr_t)slot->block % slot->alignment == 0);
    CHECK(weir_malloc_usable_size(slot->block) >= slot->bytes);
    CHECK(weir_owns(slot->block) == 1);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *other = &m->slots[i];
        CHECK(other == slot || other->block == NULL || other->block + other->bytes <= slot->block ||
              slot->block + slot->bytes <= other->block);
    }
    if (zero) {
        check_run(slot->block, stamped(slot->bytes), 0);
        check_run(slot->block + slot->bytes - stamped(slot->bytes), stamped(slot->bytes), 0);
    }
    stamp(slot, ++m->stamp);
}

static void release(struct slot *slot, unsigned how)
{
    check_slot(slot);
    errno = ERRNO_UNUSED;
    if (how % 4 == 1 && slot->resizable && slot->alignment == 0) {
        weir_free_sized(slot->block, slot->bytes);
    } else if (how % 4 == 1 && slot->alignment != 0) {
        weir_free_aligned_sized(slot->block, slot->alignment, slot->bytes);
    } else if (how % 4 == 2) {
        CHECK(weir_realloc(slot->block, 0) == NULL);
    } else if (how % 4 == 3) {
        void *one[2] = {slot->block, NULL};
        weir_free_batch(2, one);
    } else {
        weir_free(slot->block);
    }
    CHECK(errno == ERRNO_UNUSED);
    slot->block = NULL;
}

static void allocate(struct machine *m, struct slot *slot, unsigned opcode)
{
    void *block = NULL;
    slot->bytes = take_size(m);
    slot->alignment = 0;
    slot->resizable = true;
    errno = ERRNO_UNUSED;
    switch (opcode % 8) {
    case 0:
        block = weir_calloc(1, slot->bytes);
        break;
    case 1:
        slot->alignment = (size_t)1 << take_byte(m) % 24;
        block = weir_aligned_alloc(slot->alignment, slot->bytes);
        break;
    case 2:
        slot->alignment = sizeof(void *) << take_byte(m) % 16;
        CHECK(weir_posix_memalign(&block, slot->alignment, slot->bytes) == 0);
        break;
    case 3:
        block = weir_reallocarray(NULL, 3, slot->bytes / 3);
        slot->bytes = slot->bytes / 3 * 3;
        break;
    case 4:
        block = weir_alloc_at_least(slot->bytes, &slot->bytes);
        CHECK(slot->bytes == weir_good_size(slot->bytes));
        break;
    case 5:
        CHECK(weir_malloc_batch(slot->bytes, 1, &block) == 1);
        break;
    default:
        block = weir_malloc(slot->bytes);
    }
    CHECK(block != NULL);
    slot->block = block;
    check_new(m, slot, opcode % 8 == 0);
}

static void resize(struct machine *m, struct slot *slot)
{
    size_t bytes = take_size(m) + 1;
    check_slot(slot);
    uint8_t old_stamp = slot->stamp;
    size_t kept = stamped(slot->bytes < bytes ? slot->bytes : bytes);
    errno = ERRNO_UNUSED;
    uint8_t *block = weir_realloc(slot->block, bytes);
    CHECK(block != NULL);
    check_run(block, kept, old_stamp);
    slot->block = block;
    slot->bytes = bytes;
    slot->alignment = 0;
    check_new(m, slot, false);
}

static void resize_in_place(struct machine *m, struct slot *slot)
{
    size_t bytes = take_size(m) + 1;
    check_slot(slot);
    errno = ERRNO_UNUSED;
    int done = weir_resize_in_place(slot->block, bytes);
    CHECK(errno == ERRNO_UNUSED);
    if (done != 0) {
        slot->bytes = bytes;
        slot->alignment = 0;
        check_new(m, slot, false);
    } else {
        check_slot(slot);
    }
}

/* What must fail, and change nothing. */
static void misuse(struct machine *m, struct slot *slot)
{
    size_t large = (size_t)PTRDIFF_MAX + 1 + take_byte(m);
    errno = 0;
    CHECK(weir_malloc(large) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(weir_calloc(large, 2) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(weir_realloc(slot->block, large) == NULL && errno == ENOMEM);
    errno = 0;
    size_t no_power = 24 + 3 * take_byte(m); /* 3 divides no power of two */
    CHECK(weir_aligned_alloc(no_power, 100) == NULL && errno == EINVAL);
    check_slot(slot);
}

/* Puts the block into the box and frees what was there: mostly the other thread's. */
static void hand_over(struct slot *slot)
{
    if (slot->bytes < sizeof slot->bytes) {
        return;
    }
    check_slot(slot);
    memcpy(slot->block, &slot->bytes, sizeof slot->bytes);
    uint8_t *block = atomic_exchange(&box, slot->block);
    slot->block = NULL;
    if (block != NULL) {
        size_t bytes;
        memcpy(&bytes, block, sizeof bytes);
        CHECK(weir_malloc_usable_size(block) >= bytes);
        weir_free(block);
    }
}

static void step(struct machine *m)
{
    unsigned opcode = take_byte(m);
    struct slot *slot = &m->slots[take_byte(m) % SLOTS];
    if (slot->block == NULL) {
        allocate(m, slot, opcode);
        return;
    }
    switch (opcode % 8) {
    case 0:
    case 1:
        resize(m, slot);
        break;
    case 2:
        resize_in_place(m, slot);
        break;
    case 3:
        misuse(m, slot);
        break;
    case 4:
        hand_over(slot);
        break;
    case 5:
        (void)weir_malloc_trim(take_byte(m));
        break;
    default:
        release(slot, opcode >> 3);
    }
}

static void *run(void *argument)
{
    struct machine *m = argument;
    while (m->next < m->end) {
        step(m);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (m->slots[i].block != NULL) {
            release(&m->slots[i], i);
        }
    }
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length < 2) {
        return 0;
    }
    bool two = data[0] % 2 == 1;
    size_t first = two ? length / 2 : length;
    struct machine machines[2] = {{.next = data + 1, .end = data + first},
                                  {.next = data + first, .end = data + length}};
    pthread_t thread;
    if (two) {
        CHECK(pthread_create(&thread, NULL, run, &machines[1]) == 0);
    }
    (void)run(&machines[0]);
    if (two) {
        CHECK(pthread_join(thread, NULL) == 0);
    }
    weir_free(atomic_exchange(&box, NULL));
    return 0;
}
