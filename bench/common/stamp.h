/* Blocks that say whether they still hold what was written, and are still the same blocks.
 *
 *   bytes 0..7          a word that address, size and tag determine
 *   bytes 8..15         the size in bytes
 *   the last 8 bytes    the first word again
 *
 * The owner keeps the address and the tag, so that a block that was handed out twice is found too:
 * its second owner wrote another tag. No state; any thread that owns the block.
 */
#ifndef BENCH_COMMON_STAMP_H
#define BENCH_COMMON_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STAMP_BYTES_MIN    24u /* least size of a block */
#define STAMP_ADDRESS_BITS 48u /* of user addresses on the machines this runs on */

/* What the owner of a block keeps; 0 is no block.
 *
 *   63        48 47                     0
 *  |    tag     |        address         |
 */
typedef uint64_t stamp_t;

static inline void *stamp_block(stamp_t stamp)
{
    return (void *)(uintptr_t)(stamp & (((uint64_t)1 << STAMP_ADDRESS_BITS) - 1));
}

static inline uint64_t stamp_word(stamp_t stamp, uint64_t size)
{
    return (stamp + size * 0xd1342543de82ef95u) * 0x9e3779b97f4a7c15u;
}

/* The size that was written; believable once stamp_holds has said so. */
static inline uint64_t stamp_size(stamp_t stamp)
{
    uint64_t size;
    memcpy(&size, (const char *)stamp_block(stamp) + sizeof(uint64_t), sizeof size);
    return size;
}

/* Marks `block`, of `size` bytes, with the lower 16 bits of `tag`. */
static inline stamp_t stamp_write(void *block, uint64_t size, uint64_t tag)
{
    stamp_t stamp = (uint64_t)(uintptr_t)block | tag << STAMP_ADDRESS_BITS;
    uint64_t word = stamp_word(stamp, size);
    memcpy(block, &word, sizeof word);
    memcpy((char *)block + sizeof word, &size, sizeof size);
    memcpy((char *)block + size - sizeof word, &word, sizeof word);
    return stamp;
}

/* Whether the block is as stamp_write left it; true for no block. Reads the tail only behind a head
 * that fits, so that a broken size is no wild read. */
static inline bool stamp_holds(stamp_t stamp)
{
    if (stamp == 0)
        return true;
    uint64_t size = stamp_size(stamp);
    uint64_t word = stamp_word(stamp, size);
    uint64_t read;
    memcpy(&read, stamp_block(stamp), sizeof read);
    if (read != word)
        return false;
    memcpy(&read, (const char *)stamp_block(stamp) + size - sizeof read, sizeof read);
    return read == word;
}

#endif
