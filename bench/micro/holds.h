/* Whether blocks hold what is written into them: the check before every loop.
 *
 * Bound to the family as its includer is. Any thread; each works on blocks of its own.
 */
#ifndef BENCH_MICRO_HOLDS_H
#define BENCH_MICRO_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "family.h"

#define HOLDS_BLOCKS    64u                 /* at a time, less for large ones */
#define HOLDS_BYTES_MAX ((size_t)256 << 10) /* together, unless one block is larger */
#define HOLDS_WRONG     "a block does not hold what was written"

/* Every byte gets a value of its place and of `key`. */
static inline void holds_fill(void *block, size_t from, size_t size, unsigned key)
{
    unsigned char *bytes = block;
    for (size_t i = from; i < size; i++)
        bytes[i] = (unsigned char)(key * 29u + i * 7u);
}

static inline bool holds_check(const void *block, size_t size, unsigned key)
{
    const unsigned char *bytes = block;
    size_t wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong += bytes[i] != (unsigned char)(key * 29u + i * 7u);
    return wrong == 0;
}

/* How many blocks of `size` bytes one check takes. */
static inline unsigned holds_count(size_t size)
{
    size_t fit = HOLDS_BYTES_MAX / size;
    return fit < 2 ? 2 : fit < HOLDS_BLOCKS ? (unsigned)fit : HOLDS_BLOCKS;
}

/* Makes several blocks of `size` bytes by `make`, fills all, then checks and frees each. `make`
 * returns NULL if what it made is no good. */
static inline bool holds_blocks(void *(*make)(size_t size), size_t size)
{
    void *blocks[HOLDS_BLOCKS];
    unsigned count = holds_count(size);
    bool right = true;
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = make(size);
        right = right && blocks[i] != NULL;
        if (blocks[i] != NULL)
            holds_fill(blocks[i], 0, size, i);
    }
    for (unsigned i = 0; i < count; i++) {
        right = right && holds_check(blocks[i], size, i);
        family_free(blocks[i]);
    }
    return right;
}

/* Keeps the compiler from knowing what becomes of a block. */
static inline void holds_escape(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
}

#endif
