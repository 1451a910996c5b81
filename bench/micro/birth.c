/* Threads that live for a few allocations: what a malloc sets up for a thread and takes down with
 * it. The argument is the number of allocations; 0 shows the thread alone. */
#include <pthread.h>

#include "holds.h"
#include "micro.h"

#define ALLOCATIONS_MAX 10

/* What one short-lived thread is to do and what came of it. */
struct life {
    int64_t allocations;
    bool right;
};

static void *live(void *argument)
{
    static const size_t sizes[ALLOCATIONS_MAX] = {16, 64, 24, 256, 1024, 48, 4096, 100, 640, 32};
    struct life *life = argument;
    char *blocks[ALLOCATIONS_MAX];
    for (int64_t i = 0; i < life->allocations; i++) {
        blocks[i] = family_malloc(sizes[i]);
        if (blocks[i] != NULL)
            blocks[i][0] = blocks[i][sizes[i] - 1] = (char)i;
    }
    for (int64_t i = 0; i < life->allocations; i++) {
        life->right = life->right && blocks[i] != NULL && blocks[i][0] == (char)i &&
                      blocks[i][sizes[i] - 1] == (char)i;
        family_free(blocks[i]);
    }
    return NULL;
}

static void birth(struct bench_state *state, void *user)
{
    (void)user;
    struct life life = {bench_range(state, 0), true};
    bool started = true;
    if (!holds_blocks(family_malloc, 256))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, live, &life) == 0)
            pthread_join(thread, NULL);
        else
            started = false;
    }
    if (!life.right || !started)
        bench_fail(state, started ? HOLDS_WRONG : "a thread could not be started");
    bench_items(state, bench_iterations(state));
}

void MICRO_REGISTER(birth)
{
    static const int64_t allocations[] = {0, ALLOCATIONS_MAX};
    micro_register_threaded(plan, FAMILY_NAME "/thread_birth", birth, allocations,
                            MICRO_COUNT(allocations), 1);
}
