/* Writing and checking chunks; see pattern.h. */
#include "pattern.h"

#include <assert.h>
#include <string.h>

struct chunk_head {
    uint32_t bytes;
    uint16_t version;
    uint16_t check;
};

static_assert(sizeof(struct chunk_head) == PATTERN_CHUNK_BYTES_MIN, "the least chunk is a head");

uint64_t pattern_random(uint64_t *state)
{
    uint64_t word = *state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

/* The stream's state at its start. */
static uint64_t stream_of(uint64_t key, uint16_t version, uint32_t bytes)
{
    uint64_t state = key;
    state = pattern_random(&state) ^ (uint64_t)version << 32 ^ bytes;
    return pattern_random(&state);
}

void pattern_write(unsigned char *out, uint32_t bytes, uint64_t key, uint16_t version)
{
    uint64_t stream = stream_of(key, version, bytes);
    struct chunk_head head = {bytes, version, (uint16_t)pattern_random(&stream)};
    memcpy(out, &head, sizeof head);
    for (size_t at = sizeof head; at < bytes;) {
        uint64_t word = pattern_random(&stream);
        size_t step = bytes - at < sizeof word ? bytes - at : sizeof word;
        memcpy(out + at, &word, step);
        at += step;
    }
}

/* The chunk at `value`, of which `bytes` are left. */
static const char *check_chunk(const unsigned char *value, size_t bytes, uint64_t key,
                               struct chunk_head *head)
{
    if (bytes < sizeof *head)
        return "it ends within the head of a chunk";
    memcpy(head, value, sizeof *head);
    if (head->bytes < sizeof *head || head->bytes > bytes)
        return "a chunk has an impossible length";
    uint64_t stream = stream_of(key, head->version, head->bytes);
    if (head->check != (uint16_t)pattern_random(&stream))
        return "the head of a chunk is wrong";
    for (size_t at = sizeof *head; at < head->bytes;) {
        uint64_t word = pattern_random(&stream);
        size_t step = head->bytes - at < sizeof word ? head->bytes - at : sizeof word;
        if (memcmp(value + at, &word, step) != 0)
            return "the bytes of a chunk are wrong";
        at += step;
    }
    return NULL;
}

const char *pattern_check(const unsigned char *value, size_t bytes, uint64_t key, bool check_order,
                          struct pattern_shape *shape)
{
    *shape = (struct pattern_shape){.bytes = (uint32_t)bytes};
    for (size_t at = 0; at < bytes; shape->chunks++) {
        struct chunk_head head;
        const char *wrong = check_chunk(value + at, bytes - at, key, &head);
        if (wrong != NULL)
            return wrong;
        if (shape->chunks == 0)
            shape->first_version = head.version;
        else if (check_order && head.version != (uint16_t)(shape->first_version + shape->chunks))
            return "its chunks are out of order";
        at += head.bytes;
    }
    return shape->chunks == 0 ? "it is empty" : NULL;
}
