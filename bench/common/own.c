/* See own.h. */
#include "common/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void *own_map(size_t bytes)
{
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        perror("mmap for the benchmark's own memory");
        exit(1);
    }
    return start;
}

void own_unmap(void *start, size_t bytes)
{
    munmap(start, bytes);
}
