/* One name for each function of the family, bound to the flavour under test.
 *
 * With FAMILY_LIBC t_malloc is malloc, else weir_malloc, and so on: the same test source covers
 * both. The binding is by assembler name, so the compiler attaches no attribute, builtin or
 * warning of the libc headers to these calls, which misuse the family on purpose.
 */
#ifndef WEIR_TESTS_API_FAMILY_H
#define WEIR_TESTS_API_FAMILY_H

#include <stddef.h>

#include "weir/weir.h"

#ifdef FAMILY_LIBC
#define FAMILY_PREFIX ""
#else
#define FAMILY_PREFIX "weir_"
#endif
#define FAMILY_SYMBOL(name) __asm__(FAMILY_PREFIX #name)

void *t_malloc(size_t size) FAMILY_SYMBOL(malloc);
void *t_calloc(size_t count, size_t size) FAMILY_SYMBOL(calloc);
void *t_realloc(void *ptr, size_t size) FAMILY_SYMBOL(realloc);
void *t_reallocarray(void *ptr, size_t count, size_t size) FAMILY_SYMBOL(reallocarray);
void t_free(void *ptr) FAMILY_SYMBOL(free);
void t_free_sized(void *ptr, size_t size) FAMILY_SYMBOL(free_sized);
void t_free_aligned_sized(void *ptr, size_t alignment, size_t size)
    FAMILY_SYMBOL(free_aligned_sized);
void *t_aligned_alloc(size_t alignment, size_t size) FAMILY_SYMBOL(aligned_alloc);
int t_posix_memalign(void **memptr, size_t alignment, size_t size) FAMILY_SYMBOL(posix_memalign);
void *t_memalign(size_t alignment, size_t size) FAMILY_SYMBOL(memalign);
void *t_valloc(size_t size) FAMILY_SYMBOL(valloc);
void *t_pvalloc(size_t size) FAMILY_SYMBOL(pvalloc);
size_t t_usable_size(const void *ptr) FAMILY_SYMBOL(malloc_usable_size);
int t_mallopt(int parameter, int value) FAMILY_SYMBOL(mallopt);
int t_malloc_trim(size_t pad) FAMILY_SYMBOL(malloc_trim);

/* The prototypes above are those of weir.h. */
#define FAMILY_SAME(ours, theirs)                                                                  \
    _Static_assert(__builtin_types_compatible_p(__typeof__(ours), __typeof__(theirs)), #ours)
FAMILY_SAME(t_malloc, weir_malloc);
FAMILY_SAME(t_calloc, weir_calloc);
FAMILY_SAME(t_realloc, weir_realloc);
FAMILY_SAME(t_reallocarray, weir_reallocarray);
FAMILY_SAME(t_free, weir_free);
FAMILY_SAME(t_free_sized, weir_free_sized);
FAMILY_SAME(t_free_aligned_sized, weir_free_aligned_sized);
FAMILY_SAME(t_aligned_alloc, weir_aligned_alloc);
FAMILY_SAME(t_posix_memalign, weir_posix_memalign);
FAMILY_SAME(t_memalign, weir_memalign);
FAMILY_SAME(t_valloc, weir_valloc);
FAMILY_SAME(t_pvalloc, weir_pvalloc);
FAMILY_SAME(t_usable_size, weir_malloc_usable_size);
FAMILY_SAME(t_mallopt, weir_mallopt);
FAMILY_SAME(t_malloc_trim, weir_malloc_trim);

#endif
