/* Scarcity: a kernel that refuses memory, by RLIMIT_AS, and a page heap with nothing left. */
#ifndef WEIR_TESTS_SCARCE_H
#define WEIR_TESTS_SCARCE_H

#include "support.h"

#include <stdio.h>
#include <sys/resource.h>

#include "os/host.h"
#include "page/meta.h"
#include "page/slice.h"

/* A sanitizer's own mappings would fail as well. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCARCE_SKIPPED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SCARCE_SKIPPED true
#endif
#endif
#ifndef SCARCE_SKIPPED
#define SCARCE_SKIPPED false
#endif

/* From here on every mapping and every growth of the data segment fails, or again succeeds. */
static inline void scarce_kernel_refuses(bool refuses)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = refuses ? 0 : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* From here on the process may map no more than it does now: what it unmaps it may map again. */
static inline void scarce_kernel_allows_no_more(void)
{
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = pages * wr_host_page_bytes();
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* Claims all that the page heap has, each slice naming the one before; the last one, or 0. */
static inline uintptr_t scarce_claim_all(void)
{
    uintptr_t last = 0;
    uintptr_t start;
    bool zero;
    while ((start = wr_slice_claim(1, &zero)) != 0) {
        *(uintptr_t *)start = last;
        last = start;
    }
    return last;
}

static inline void scarce_release_all(uintptr_t last)
{
    while (last != 0) {
        uintptr_t before = *(uintptr_t *)last;
        wr_slice_release(last, 1);
        last = before;
    }
}

/* Uses up the memory for descriptors while the kernel refuses more. */
static inline void scarce_use_up_meta(void)
{
    while (wr_meta_alloc(WR_CACHE_LINE_BYTES) != NULL) {
    }
}

#endif
