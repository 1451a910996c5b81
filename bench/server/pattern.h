/* What the load generator stores: values that say themselves whether they are right.
 *
 * A value is a row of chunks, one from a SET and one from each APPEND after it. A chunk:
 *
 *   bytes 0..3   its length in bytes, head included
 *   bytes 4..5   its version
 *   bytes 6..7   a check over key, version and length
 *   the rest     a stream that key, version and length determine
 *
 * Where a key has one writer, the versions of a value go up by one from chunk to chunk.
 * Nothing here has state.
 */
#ifndef BENCH_SERVER_PATTERN_H
#define BENCH_SERVER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_CHUNK_BYTES_MIN 8u

/* What a value of one key consists of. */
struct pattern_shape {
    uint32_t bytes;         /* of the whole value */
    uint32_t chunks;        /* how many; 0 means no value */
    uint16_t first_version; /* of the first chunk; the others follow */
};

/* The next value of a generator, by the splitmix64 recurrence. */
uint64_t pattern_random(uint64_t *state);

/* Writes a chunk of `bytes` bytes, at least PATTERN_CHUNK_BYTES_MIN. */
void pattern_write(unsigned char *out, uint32_t bytes, uint64_t key, uint16_t version);

/* Checks every byte of a value of `key`. Returns NULL and fills `*shape`, or says what is wrong.
 * `check_order` false leaves the order of the versions unchecked, for keys with many writers. */
const char *pattern_check(const unsigned char *value, size_t bytes, uint64_t key, bool check_order,
                          struct pattern_shape *shape);

#endif
