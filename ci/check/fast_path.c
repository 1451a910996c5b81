/* fast_path: N pairs of an allocation and a free, for ci/check/fast_path and bench/compare to count
 * instructions.
 *
 * Called as `fast_path PAIR SIZE N`, PAIR one of malloc, calloc, sized, realloc. The pointer goes
 * through a volatile, so that the compiler keeps both calls. */
#include <stdlib.h>
#include <string.h>

/* Weak, so that the program also starts on a malloc without it. */
void free_sized(void *ptr, size_t size) __attribute__((weak));

static void *volatile escape;

static void malloc_pairs(size_t size, long n)
{
    for (long i = 0; i < n; i++) {
        escape = malloc(size);
        free(escape);
    }
}

static void calloc_pairs(size_t size, long n)
{
    for (long i = 0; i < n; i++) {
        escape = calloc(1, size);
        free(escape);
    }
}

static void sized_pairs(size_t size, long n)
{
    for (long i = 0; i < n; i++) {
        escape = malloc(size);
        free_sized(escape, size);
    }
}

/* The block moves to another class, between two that need not be the same. */
static void realloc_pairs(size_t size, long n)
{
    for (long i = 0; i < n; i++) {
        escape = malloc(size);
        escape = realloc(escape, 2 * size);
        free(escape);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t size = strtoul(argv[2], NULL, 10);
    long n = strtol(argv[3], NULL, 10);
    if (strcmp(argv[1], "malloc") == 0)
        malloc_pairs(size, n);
    else if (strcmp(argv[1], "calloc") == 0)
        calloc_pairs(size, n);
    else if (strcmp(argv[1], "sized") == 0)
        sized_pairs(size, n);
    else if (strcmp(argv[1], "realloc") == 0)
        realloc_pairs(size, n);
    else
        return 2;
    return 0;
}
