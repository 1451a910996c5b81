/* Blocks of the malloc under test that hold a pattern from allocation to free: a word at every 64
 * bytes, so that each page is touched, and the last 8 bytes. The tag makes the pattern another one
 * for each block, so a block that was handed out twice is found too. What is broken ends the
 * program. Any thread that owns the block.
 */
#ifndef BENCH_MEMORY_BLOCK_H
#define BENCH_MEMORY_BLOCK_H

#include "common/random.h"
#include "memory/fail.h"
#include "memory/sampler.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_STEP_BYTES 64u
#define BLOCK_SIZE_LEAST 16u
#define BLOCK_SIZE_ROOT  64u /* the greatest of block_size is its square times the least */
#define BLOCK_SIZE_MEAN  1024u

struct block {
    char *start; /* NULL: no block */
    uint32_t bytes;
    uint32_t tag;
};

static inline uint64_t block_word(uint32_t tag, uint64_t at)
{
    return ((uint64_t)tag << 32 ^ at) * 0x9e3779b97f4a7c15u + at;
}

/* Allocates and writes a block of at least 16 bytes; `tag` is unlike that of any live one.
 */
static inline struct block block_new(uint32_t bytes, uint32_t tag, unsigned thread)
{
    struct block block = {malloc(bytes), bytes, tag};
    if (block.start == NULL)
        fail("no memory for %u bytes", bytes);
    if (((uintptr_t)block.start & 15) != 0)
        fail("a block of %u bytes is at %p", bytes, (void *)block.start);
    uint64_t last = bytes - sizeof last;
    for (uint64_t at = 0; at + sizeof last <= last; at += BLOCK_STEP_BYTES) {
        uint64_t word = block_word(tag, at);
        memcpy(block.start + at, &word, sizeof word);
    }
    uint64_t word = block_word(tag, last);
    memcpy(block.start + last, &word, sizeof word);
    sampler_live_add(thread, bytes);
    return block;
}

/* Checks and frees a block. */
static inline void block_end(struct block block, unsigned thread)
{
    uint64_t wrong = 0;
    uint64_t word;
    uint64_t last = block.bytes - sizeof last;
    for (uint64_t at = 0; at + sizeof last <= last; at += BLOCK_STEP_BYTES) {
        memcpy(&word, block.start + at, sizeof word);
        wrong |= word ^ block_word(block.tag, at);
    }
    memcpy(&word, block.start + last, sizeof word);
    wrong |= word ^ block_word(block.tag, last);
    if (wrong != 0)
        fail("a block of %u bytes does not hold what was written", block.bytes);
    free(block.start);
    sampler_live_add(thread, 0 - (uint64_t)block.bytes);
}

/* The first tag of a thread, which may count up from there some hundred thousand times before it
 * meets those of its neighbour, whose blocks have then long gone. */
static inline uint32_t block_first_tag(unsigned thread)
{
    return (uint32_t)thread << 18;
}

/* A size from 16 bytes to 64 KiB whose density falls with the power -1.5: small ones are most of
 * the blocks, large ones most of the bytes. Their mean is BLOCK_SIZE_MEAN. */
static inline uint32_t block_size(uint64_t *random)
{
    double even = (double)(random_next(random) >> 11) * 0x1p-53; /* in [0, 1) */
    double root = 1 / (1 - even * (1 - 1.0 / BLOCK_SIZE_ROOT));
    return (uint32_t)(BLOCK_SIZE_LEAST * root * root);
}

#endif
