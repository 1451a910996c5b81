/* A shared library that is loaded and unloaded many times: it allocates in its constructor, frees
 * in its destructor and starts a thread on the program's code that outlives it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 40

static char *blocks[BLOCKS];

__attribute__((constructor)) static void allocate_blocks(void)
{
    size_t size = 1;
    for (size_t i = 0; i < BLOCKS; i++, size += size / 3 + 1) {
        blocks[i] = malloc(size);
        if (blocks[i] == NULL) {
            abort();
        }
        memset(blocks[i], (int)i, size);
    }
}

__attribute__((destructor)) static void free_blocks(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i][0] != (char)i) {
            abort();
        }
        free(blocks[i]);
    }
}

/* Gives the thread a block of this library; body() frees it. Returns 0 or an error number. */
__attribute__((visibility("default"))) int module_start_thread(pthread_t *thread,
                                                               void *(*body)(void *));
int module_start_thread(pthread_t *thread, void *(*body)(void *))
{
    char *block = malloc(1000);
    if (block == NULL) {
        return -1;
    }
    memset(block, 7, 1000);
    return pthread_create(thread, NULL, body, block);
}
