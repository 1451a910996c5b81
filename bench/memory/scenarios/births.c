/* births: 10,000 threads are born and go, 100 at a time. Each allocates and frees, and leaves some
 * blocks to the next one in its place. Does memory grow with the threads that there have been?
 */
#include "memory/scenario.h"

#define THREADS        10000u
#define FIRST_BATCHES  2u /* whose peak the later ones are compared with */
#define BATCHES_LEAST  4u
#define BLOCKS         200u /* live in a thread at once */
#define LEFT           8u   /* of them, to the next thread */
#define ROUNDS         3u   /* of freeing a random half and allocating again */
#define SHIFT_LEAST    4u   /* sizes even in their logarithm from 16 bytes */
#define SHIFT_GREATEST 12u  /* to 4 KiB */

struct place {
    struct block blocks[BLOCKS]; /* the first LEFT pass from thread to thread */
    uint64_t random;
    uint32_t tag;
};

struct births {
    struct place *places;       /* one per thread of a batch */
    pthread_barrier_t all_full; /* of a batch */
};

static void place_fill(struct place *place, unsigned index)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint32_t bytes = random_size(&place->random, SHIFT_LEAST, SHIFT_GREATEST);
        if (place->blocks[i].start == NULL)
            place->blocks[i] = block_new(bytes, place->tag++, index);
    }
}

static void place_free(struct block *block, unsigned index)
{
    if (block->start != NULL)
        block_end(*block, index);
    block->start = NULL;
}

static void births_body(void *context, unsigned index)
{
    struct births *births = context;
    struct place *place = &births->places[index];
    for (unsigned i = 0; i < LEFT; i++)
        place_free(&place->blocks[i], index); /* the predecessor's */
    place_fill(place, index);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            if (random_below(&place->random, 2) == 0)
                place_free(&place->blocks[i], index);
        }
        place_fill(place, index);
    }
    pthread_barrier_wait(&births->all_full);
    for (unsigned i = LEFT; i < BLOCKS; i++)
        place_free(&place->blocks[i], index);
}

static void births_run(const struct scenario_arguments *arguments)
{
    unsigned threads = arguments->threads;
    uint64_t batches = scaled(THREADS, arguments, 1) / threads;
    batches = batches < BATCHES_LEAST ? BATCHES_LEAST : batches;
    struct births births = {.places = own_map(threads * sizeof *births.places)};
    for (unsigned i = 0; i < threads; i++) {
        births.places[i].random = random_stream(arguments->seed, i);
        births.places[i].tag = block_first_tag(i);
    }
    uint64_t first_bytes = 0;
    uint64_t begin_ns = team_now_ns();
    pthread_barrier_init(&births.all_full, NULL, threads);
    for (uint64_t batch = 0; batch < batches; batch++) {
        struct crew crew;
        crew_start(&crew, threads, CREW_STACK_BYTES, births_body, &births);
        crew_join(&crew);
        if (batch + 1 == FIRST_BATCHES)
            first_bytes = resident_peak();
    }
    double seconds = (double)(team_now_ns() - begin_ns) / 1e9;
    uint64_t peak_bytes = resident_peak();
    for (unsigned i = 0; i < threads; i++) {
        for (unsigned j = 0; j < LEFT; j++)
            place_free(&births.places[i].blocks[j], i);
    }
    struct resident end = resident_exact();
    sampler_stop();
    own_unmap(births.places, threads * sizeof *births.places);
    metric_print((double)peak_bytes / (double)first_bytes, "ratio", "births/growth");
    metric_print((double)peak_bytes, "bytes", "births/rss_peak");
    metric_print((double)first_bytes, "bytes", "births/rss_peak_first");
    metric_print((double)end.rss_bytes, "bytes", "births/rss_after");
    metric_print((double)(batches * threads) / seconds, "ops/s", "births/rate");
}

const struct scenario births_scenario = {"births", "10,000 threads, so many at a time", births_run,
                                         100, 0};
