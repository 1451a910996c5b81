/* Misuses of the C family. */
#include "death.h"

#include "family.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 1 << 20 };

/* Not to be seen through by a compiler. */
static void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

static char *block(size_t bytes)
{
    return hide(t_malloc(bytes));
}

static void put(char *p, long offset, size_t bytes)
{
    memset((char *)hide(p) + offset, 1, bytes);
}

/* ---- freed twice ---- */

static void twice(char *p, size_t bytes)
{
    t_free(p);
    expect("free(): double free: %p, block of %zu bytes, freed before", (void *)p, bytes);
    t_free(hide(p));
}

static void double_free(void)
{
    twice(block(24), 24);
}

static void double_free_of_nothing(void)
{
    twice(block(0), 0);
}

static void double_free_large(void)
{
    twice(block(LARGE), LARGE);
}

static void double_free_of_what_never_waited(void)
{
    twice(block((size_t)64 << 20), (size_t)64 << 20);
}

static void double_free_calloc(void)
{
    twice(hide(t_calloc(3, 8)), 24);
}

static void double_free_aligned(void)
{
    twice(hide(t_aligned_alloc(256, 24)), 24);
}

static void double_free_with_others_between(void)
{
    char *p = block(24);
    char *q = block(24);
    t_free(p);
    t_free(q);
    expect("free(): double free: %p, block of 24 bytes, freed before", (void *)p);
    t_free(hide(p));
}

/* Without a quarantine it has gone back to its slab. */
static void double_free_out_of_quarantine(void)
{
    twice(block(24), 24);
}

static void *free_it(void *p)
{
    t_free(p);
    return NULL;
}

static void double_free_by_another_thread(void)
{
    char *p = block(24);
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_it, p) == 0 && pthread_join(thread, NULL) == 0) {
        expect("free(): double free: %p, block of 24 bytes, freed before", (void *)p);
        t_free(hide(p));
    }
}

static void double_free_sized(void)
{
    char *p = block(24);
    t_free_sized(p, 24);
    expect("free_sized(): double free: %p, block of 24 bytes, freed before", (void *)p);
    t_free_sized(hide(p), 24);
}

static void double_free_aligned_sized(void)
{
    char *p = hide(t_aligned_alloc(64, 128));
    t_free_aligned_sized(p, 64, 128);
    expect("free_aligned_sized(): double free: %p, block of 128 bytes, freed before", (void *)p);
    t_free_aligned_sized(hide(p), 64, 128);
}

static void double_free_in_a_batch(void)
{
    void *batch[] = {block(24), NULL, NULL};
    batch[2] = hide(batch[0]);
    expect("free_batch(): double free: %p, block of 24 bytes, freed before", batch[0]);
    weir_free_batch(3, batch);
}

static void double_free_after_realloc_to_nothing(void)
{
    char *p = block(24);
    (void)hide(t_realloc(p, 0));
    expect("free(): double free: %p, block of 24 bytes, freed before", (void *)p);
    t_free(hide(p));
}

static void free_of_what_realloc_moved(void)
{
    char *p = block(24);
    (void)hide(t_realloc(p, 1000));
    expect("free(): double free: %p, block of 24 bytes, freed before", (void *)p);
    t_free(hide(p));
}

static void realloc_of_freed(void)
{
    char *p = block(24);
    t_free(p);
    expect("realloc(): double free: %p, block of 24 bytes, freed before", (void *)p);
    (void)hide(t_realloc(hide(p), 100));
}

static void reallocarray_of_freed(void)
{
    char *p = block(24);
    t_free(p);
    expect("realloc(): double free: %p, block of 24 bytes, freed before", (void *)p);
    (void)hide(t_reallocarray(hide(p), 10, 10));
}

static void usable_size_of_freed(void)
{
    char *p = block(24);
    t_free(p);
    expect("malloc_usable_size(): freed block: %p, block of 24 bytes, freed before", (void *)p);
    if (t_usable_size(hide(p)) != 0) {
        _exit(1);
    }
}

static void resize_in_place_of_freed(void)
{
    char *p = block(24);
    t_free(p);
    expect("resize_in_place(): freed block: %p, block of 24 bytes, freed before", (void *)p);
    if (weir_resize_in_place(hide(p), 20) != 0) {
        _exit(1);
    }
}

/* ---- written past an end ---- */

static void overrun(char *p, size_t size, long offset, size_t bytes)
{
    put(p, offset, bytes);
    expect("free(): overrun: %p, block of %zu bytes, %zu byte%s written at offset %ld", (void *)p,
           size, bytes, bytes == 1 ? "" : "s", offset);
    t_free(p);
}

static void overrun_by_one(void)
{
    overrun(block(24), 24, 24, 1);
}

static void overrun_by_the_end_of_a_string(void)
{
    char *p = block(8);
    (void)strcpy(hide(p), "12345678");
    expect("free(): overrun: %p, block of 8 bytes, 1 byte written at offset 8", (void *)p);
    t_free(p);
}

static void overrun_by_many(void)
{
    overrun(block(24), 24, 24, 16);
}

static void overrun_at_a_distance(void)
{
    overrun(block(24), 24, 30, 1);
}

static void overrun_of_nothing(void)
{
    overrun(block(0), 0, 0, 1);
}

static void overrun_of_an_odd_size(void)
{
    overrun(block(13), 13, 13, 1);
}

static void overrun_of_a_page(void)
{
    overrun(block(4096), 4096, 4096, 4);
}

static void overrun_large(void)
{
    overrun(block(LARGE), LARGE, LARGE, 1);
}

static void overrun_calloc(void)
{
    overrun(hide(t_calloc(5, 20)), 100, 100, 1);
}

static void overrun_aligned(void)
{
    overrun(hide(t_aligned_alloc(4096, 100)), 100, 100, 1);
}

static void overrun_found_by_realloc(void)
{
    char *p = block(24);
    put(p, 24, 1);
    expect("realloc(): overrun: %p, block of 24 bytes, 1 byte written at offset 24", (void *)p);
    (void)hide(t_realloc(p, 100));
}

static void overrun_found_by_free_sized(void)
{
    char *p = block(24);
    put(p, 24, 1);
    expect("free_sized(): overrun: %p, block of 24 bytes, 1 byte written at offset 24", (void *)p);
    t_free_sized(p, 24);
}

static void overrun_found_by_resize_in_place(void)
{
    char *p = block(24);
    put(p, 24, 1);
    expect("resize_in_place(): overrun: %p, block of 24 bytes, 1 byte written at offset 24",
           (void *)p);
    (void)weir_resize_in_place(p, 20);
}

static void overrun_of_what_was_resized_in_place(void)
{
    char *p = block(24);
    if (weir_resize_in_place(p, 20) != 1) {
        _exit(1);
    }
    overrun(p, 20, 20, 1);
}

static void overrun_found_at_exit(void)
{
    char *p = block(24);
    put(p, 24, 1);
    expect("exit: overrun: %p, block of 24 bytes, 1 byte written at offset 24", (void *)p);
}

static void overrun_found_by_heap_check(void)
{
    char *p = block(24);
    put(p, 24, 1);
    expect("heap_check: overrun: %p, block of 24 bytes, 1 byte written at offset 24", (void *)p);
    if (weir_heap_check(1) != 1) {
        _exit(1);
    }
    _exit(0);
}

/* ---- written before the begin ---- */

static void underrun(char *p, size_t size, long offset, size_t bytes)
{
    put(p, offset, bytes);
    expect("free(): underrun: %p, block of %zu bytes, %zu byte%s written at offset %ld", (void *)p,
           size, bytes, bytes == 1 ? "" : "s", offset);
    t_free(p);
}

static void underrun_by_one(void)
{
    underrun(block(24), 24, -1, 1);
}

static void underrun_by_many(void)
{
    underrun(block(24), 24, -16, 16);
}

static void underrun_aligned(void)
{
    underrun(hide(t_aligned_alloc(64, 24)), 24, -64, 8);
}

static void underrun_large(void)
{
    underrun(block(LARGE), LARGE, -8, 8);
}

/* ---- written after it was freed ---- */

static void write_freed(char *p, size_t size, long offset, size_t bytes)
{
    t_free(p);
    put(p, offset, bytes);
    expect("quarantine: use after free: %p, block of %zu bytes, %zu byte%s written at offset %ld",
           (void *)p, size, bytes, bytes == 1 ? "" : "s", offset);
}

static void write_after_free(void)
{
    write_freed(block(24), 24, 0, 1);
}

static void write_after_free_of_the_last_byte(void)
{
    write_freed(block(1001), 1001, 1000, 1);
}

static void write_after_free_of_all(void)
{
    write_freed(block(64), 64, 0, 64);
}

static void write_after_free_large(void)
{
    write_freed(block(LARGE), LARGE, LARGE / 2, 4);
}

static void write_after_free_found_by_others(void)
{
    write_freed(block(24), 24, 8, 8);
    for (unsigned i = 0; i < 100; i++) {
        t_free(block(1000));
    }
}

static void write_after_free_found_by_heap_check(void)
{
    write_freed(block(24), 24, 8, 8);
    if (weir_heap_check(0) != 1) {
        _exit(1);
    }
}

static void overrun_after_free(void)
{
    char *p = block(24);
    t_free(p);
    put(p, 24, 1);
    expect("quarantine: overrun: %p, block of 24 bytes, 1 byte written at offset 24", (void *)p);
}

/* ---- no block ---- */

static void foreign(void *p, const char *where)
{
    expect("free(): foreign pointer: %p %s", p, where);
    t_free(hide(p));
}

static void free_within(void)
{
    char *p = block(24);
    expect("free(): not a block start: %p, offset 8 of the block of 24 bytes at %p",
           (void *)(p + 8), (void *)p);
    t_free(hide(p + 8));
}

static void free_before(void)
{
    char *p = block(24);
    expect("free(): not a block start: %p, offset -8 of the block of 24 bytes at %p",
           (void *)(p - 8), (void *)p);
    t_free(hide(p - 8));
}

static void free_within_large(void)
{
    char *p = block(LARGE);
    expect("free(): not a block start: %p, offset 4096 of the block of %d bytes at %p",
           (void *)(p + 4096), LARGE, (void *)p);
    t_free(hide(p + 4096));
}

static void realloc_within(void)
{
    char *p = block(24);
    expect("realloc(): not a block start: %p, offset 16 of the block of 24 bytes at %p",
           (void *)(p + 16), (void *)p);
    (void)hide(t_realloc(hide(p + 16), 100));
}

static void usable_size_within(void)
{
    char *p = block(24);
    expect("malloc_usable_size(): not a block start: %p, offset 1 of the block of 24 bytes at %p",
           (void *)(p + 1), (void *)p);
    (void)t_usable_size(hide(p + 1));
}

static void free_on_the_stack(void)
{
    _Alignas(16) char bytes[64] = {0};
    foreign(bytes, "is on the stack of the calling thread");
}

static _Alignas(16) char data[64] = {1};

static void free_static_data(void)
{
    expect("free(): foreign pointer: %p is static data of %s", (void *)data, "death");
    t_free(hide(data));
}

static void realloc_static_data(void)
{
    expect("realloc(): foreign pointer: %p is static data of %s", (void *)data, "death");
    (void)hide(t_realloc(hide(data), 10));
}

static void free_a_number(void)
{
    foreign((void *)(uintptr_t)0x1234567890, "is in no block of this heap");
}

static void free_a_mapping(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    foreign((char *)p + 16, "is in no block of this heap");
}

static void free_a_tagged_pointer(void)
{
    char *p = block(24);
    foreign((void *)((uintptr_t)p | (uintptr_t)1 << 56), "is in no block of this heap");
}

static void usable_size_of_a_number(void)
{
    void *p = (void *)(uintptr_t)0x1234567890;
    expect("malloc_usable_size(): foreign pointer: %p is in no block of this heap", p);
    (void)t_usable_size(hide(p));
}

/* ---- another size or alignment ---- */

static void size_too_large(void)
{
    char *p = block(24);
    expect("free_sized(): size mismatch: %p, block of 24 bytes, freed as 25", (void *)p);
    t_free_sized(p, 25);
}

static void size_too_small(void)
{
    char *p = block(24);
    expect("free_sized(): size mismatch: %p, block of 24 bytes, freed as 8", (void *)p);
    t_free_sized(p, 8);
}

static void size_of_large(void)
{
    char *p = block(LARGE);
    expect("free_sized(): size mismatch: %p, block of %d bytes, freed as 16", (void *)p, LARGE);
    t_free_sized(p, 16);
}

static void size_of_aligned(void)
{
    char *p = hide(t_aligned_alloc(64, 128));
    expect("free_aligned_sized(): size mismatch: %p, block of 128 bytes, freed as 64", (void *)p);
    t_free_aligned_sized(p, 64, 64);
}

static void another_alignment(void)
{
    char *p = hide(t_aligned_alloc(64, 128));
    expect("free_aligned_sized(): alignment mismatch: %p, block of 128 bytes, allocated aligned to "
           "64, freed aligned to 128",
           (void *)p);
    t_free_aligned_sized(p, 128, 128);
}

static void no_alignment(void)
{
    char *p = hide(t_aligned_alloc(64, 128));
    expect("free_sized(): alignment mismatch: %p, block of 128 bytes, allocated aligned to 64, "
           "freed plain",
           (void *)p);
    t_free_sized(p, 128);
}

static void alignment_of_plain(void)
{
    char *p = block(128);
    expect("free_aligned_sized(): alignment mismatch: %p, block of 128 bytes, allocated plain, "
           "freed aligned to 64",
           (void *)p);
    t_free_aligned_sized(p, 64, 128);
}

/* No misuse: for memcheck, which must find none. */
static void fits(void)
{
    for (size_t bytes = 0; bytes < 3000; bytes += 7) {
        char *p = hide(t_calloc(1, bytes));
        put(p, 0, bytes);
        p = hide(t_realloc(p, bytes * 2 + 1));
        put(p, (long)bytes, bytes + 1);
        t_free(p);
        p = hide(t_aligned_alloc(64, bytes));
        put(p, 0, bytes);
        t_free(p);
    }
    _exit(0);
}

#define CASE(function, stacks)                                                                     \
    {                                                                                              \
#function, function, stacks, NULL                                                          \
    }
#define CASE_WITH(function, stacks, s)                                                             \
    {                                                                                              \
#function, function, stacks, s                                                             \
    }

const struct misuse misuses[] = {
    CASE(double_free, ALLOCATED | FREED),
    CASE(double_free_of_nothing, ALLOCATED | FREED),
    CASE(double_free_large, ALLOCATED | FREED),
    CASE(double_free_of_what_never_waited, ALLOCATED | FREED),
    CASE(double_free_calloc, ALLOCATED | FREED),
    CASE(double_free_aligned, ALLOCATED | FREED),
    CASE(double_free_with_others_between, ALLOCATED | FREED),
    CASE_WITH(double_free_out_of_quarantine, ALLOCATED | FREED, "WEIR_CHECK_QUARANTINE=0"),
    CASE(double_free_by_another_thread, ALLOCATED | FREED),
    CASE(double_free_sized, ALLOCATED | FREED),
    CASE(double_free_aligned_sized, ALLOCATED | FREED),
    CASE(double_free_in_a_batch, ALLOCATED),
    CASE(double_free_after_realloc_to_nothing, ALLOCATED | FREED),
    CASE(free_of_what_realloc_moved, ALLOCATED | FREED),
    CASE(realloc_of_freed, ALLOCATED | FREED),
    CASE(reallocarray_of_freed, ALLOCATED | FREED),
    CASE(usable_size_of_freed, ALLOCATED | FREED),
    CASE(resize_in_place_of_freed, ALLOCATED | FREED),
    CASE(overrun_by_one, ALLOCATED),
    CASE(overrun_by_the_end_of_a_string, ALLOCATED),
    CASE(overrun_by_many, ALLOCATED),
    CASE(overrun_at_a_distance, ALLOCATED),
    CASE(overrun_of_nothing, ALLOCATED),
    CASE(overrun_of_an_odd_size, ALLOCATED),
    CASE(overrun_of_a_page, ALLOCATED),
    CASE(overrun_large, ALLOCATED),
    CASE(overrun_calloc, ALLOCATED),
    CASE(overrun_aligned, ALLOCATED),
    CASE(overrun_found_by_realloc, ALLOCATED),
    CASE(overrun_found_by_free_sized, ALLOCATED),
    CASE(overrun_found_by_resize_in_place, ALLOCATED),
    CASE(overrun_of_what_was_resized_in_place, ALLOCATED),
    CASE(overrun_found_at_exit, ALLOCATED | NOT_CALLED),
    CASE(overrun_found_by_heap_check, ALLOCATED | NOT_CALLED),
    CASE(underrun_by_one, ALLOCATED),
    CASE(underrun_by_many, ALLOCATED),
    CASE(underrun_aligned, ALLOCATED),
    CASE(underrun_large, ALLOCATED),
    CASE(write_after_free, ALLOCATED | FREED | NOT_CALLED),
    CASE(write_after_free_of_the_last_byte, ALLOCATED | FREED | NOT_CALLED),
    CASE(write_after_free_of_all, ALLOCATED | FREED | NOT_CALLED),
    CASE(write_after_free_large, ALLOCATED | FREED | NOT_CALLED),
    CASE_WITH(write_after_free_found_by_others, ALLOCATED | FREED | NOT_CALLED,
              "WEIR_CHECK_QUARANTINE=16K"),
    CASE(write_after_free_found_by_heap_check, ALLOCATED | FREED | NOT_CALLED),
    CASE(overrun_after_free, ALLOCATED | FREED | NOT_CALLED),
    CASE(free_within, ALLOCATED),
    CASE(free_before, ALLOCATED),
    CASE(free_within_large, ALLOCATED),
    CASE(realloc_within, ALLOCATED),
    CASE(usable_size_within, ALLOCATED),
    CASE(free_on_the_stack, NO_STACK),
    CASE(free_static_data, NO_STACK),
    CASE(realloc_static_data, NO_STACK),
    CASE(free_a_number, NO_STACK),
    CASE(free_a_mapping, NO_STACK),
    CASE(free_a_tagged_pointer, NO_STACK),
    CASE(usable_size_of_a_number, NO_STACK),
    CASE(size_too_large, ALLOCATED),
    CASE(size_too_small, ALLOCATED),
    CASE(size_of_large, ALLOCATED),
    CASE(size_of_aligned, ALLOCATED),
    CASE(another_alignment, ALLOCATED),
    CASE(no_alignment, ALLOCATED),
    CASE(alignment_of_plain, ALLOCATED),
    CASE(fits, NOTHING),
    {NULL, NULL, NO_STACK, NULL},
};
