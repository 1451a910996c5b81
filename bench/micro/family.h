/* One name for each function of the malloc family, bound to the family that is measured.
 *
 * Every source of this directory but main.c is compiled twice: with MICRO_LIBC family_malloc is
 * malloc, whichever library the process loaded; without it, it is weir_malloc, linked in. The
 * binding is by assembler name, so that the compiler knows nothing of these calls and leaves none
 * of them out.
 */
#ifndef BENCH_MICRO_FAMILY_H
#define BENCH_MICRO_FAMILY_H

#include <stddef.h>

#ifdef MICRO_LIBC
#define FAMILY_PREFIX   ""
#define FAMILY_NAME     "libc"
#define FAMILY_OF(name) libc_##name
#else
#define FAMILY_PREFIX   "weir_"
#define FAMILY_NAME     "weir"
#define FAMILY_OF(name) weir_##name
#endif
#define FAMILY_SYMBOL(name) __asm__(FAMILY_PREFIX #name)

void *family_malloc(size_t size) FAMILY_SYMBOL(malloc);
void *family_calloc(size_t count, size_t size) FAMILY_SYMBOL(calloc);
void *family_realloc(void *ptr, size_t size) FAMILY_SYMBOL(realloc);
void family_free(void *ptr) FAMILY_SYMBOL(free);
void *family_aligned_alloc(size_t alignment, size_t size) FAMILY_SYMBOL(aligned_alloc);
size_t family_usable_size(const void *ptr) FAMILY_SYMBOL(malloc_usable_size);

/* free_sized is younger than most libraries: see sized.c. */
#ifndef MICRO_LIBC
void family_free_sized(void *ptr, size_t size) FAMILY_SYMBOL(free_sized);
#endif

#endif
