/* See exercise.h. */
#include "exercise.h"

#include "family.h"

void family_exercise(uint64_t tag)
{
    static const size_t sizes[] = {
        0,    1,     8,     16,    24,    64,       100,    128,       500,    1000, 1024, 4000,
        4096, 10000, 16384, 32768, 40000, 64 * KIB, 100000, 128 * KIB, 200000, MIB,  64,   1000,
    };
    void *blocks[2 * COUNT_OF(sizes)];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        size_t size = sizes[i % COUNT_OF(sizes)];
        blocks[i] = t_malloc(size);
        CHECK(blocks[i] != NULL);
        CHECK(t_usable_size(blocks[i]) >= size);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), tag + i);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        CHECK(pattern_holds(blocks[i], t_usable_size(blocks[i]), tag + i));
        t_free(blocks[i]);
    }
}

void family_exercise_many(uint64_t seed, size_t count, size_t limit)
{
    void **blocks = t_malloc(count * sizeof *blocks);
    CHECK(blocks != NULL);
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++) {
        size_t size = random_size(&state, limit);
        blocks[i] = t_malloc(size);
        CHECK(blocks[i] != NULL);
        CHECK(is_aligned(blocks[i], natural_alignment(size)));
        CHECK(t_usable_size(blocks[i]) >= size);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), seed + i);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(pattern_holds(blocks[i], t_usable_size(blocks[i]), seed + i));
        t_free(blocks[i]);
    }
    t_free(blocks);
}
