/* libweir_bench_broken.so: a malloc with a fault, to test that the workloads find it. BROKEN_MALLOC
 * says which:
 *
 *   none    no fault: the workloads must pass, or the others would prove nothing
 *   twice   now and then a live block is returned once more
 *   flip    now and then a byte of a live block changes
 *
 * It never gives memory back, so that only a program's own checks can find the fault. One lock
 * protects all state. For short runs of single programs: it ends when its space does.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT      __attribute__((visibility("default")))
#define SPACE_BYTES ((size_t)1 << 40)
#define FAULT_EVERY 31u /* blocks from one fault to the next; a fault may go by unseen */
#define ALIGN       16u /* of every block; its size stands in the 16 bytes before it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *next; /* unused space */
static char *space_end;
static char *victim;     /* a live block that is to suffer, or NULL */
static uint64_t blocks;  /* returned by malloc and realloc so far */
static const char *mode; /* of the fault, from the environment */

static size_t *size_of(void *start)
{
    return (size_t *)start - 1;
}

static void set_up(void)
{
    next = mmap(NULL, SPACE_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (next == MAP_FAILED)
        abort();
    space_end = next + SPACE_BYTES;
    mode = getenv("BROKEN_MALLOC");
    if (mode == NULL)
        mode = "none";
}

static void *carve(size_t bytes, size_t align)
{
    if (next == NULL)
        set_up();
    uintptr_t start = ((uintptr_t)next + ALIGN + align - 1) & ~(uintptr_t)(align - 1);
    if (bytes > PTRDIFF_MAX || bytes > (size_t)(space_end - (char *)start)) {
        errno = ENOMEM;
        return NULL;
    }
    next = (char *)start + bytes;
    *size_of((void *)start) = bytes;
    return (void *)start;
}

/* A block, with the fault where its turn has come: the victim is a block that came before and has
 * not been freed since. */
static void *carve_faulty(size_t bytes)
{
    char *start = carve(bytes, ALIGN);
    if (start == NULL)
        return NULL;
    blocks++;
    if (victim != NULL && bytes > 0 && strcmp(mode, "twice") == 0 && *size_of(victim) >= bytes) {
        start = victim;
        victim = NULL;
    } else if (victim != NULL && strcmp(mode, "flip") == 0) {
        victim[0] ^= 0x55;
        victim = NULL;
    } else if (victim == NULL && blocks % FAULT_EVERY == 0 && bytes > 0) {
        victim = start;
    }
    return start;
}

EXPORT void *malloc(size_t bytes)
{
    pthread_mutex_lock(&lock);
    void *start = carve_faulty(bytes);
    pthread_mutex_unlock(&lock);
    return start;
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    if (bytes != 0 && count > PTRDIFF_MAX / bytes) {
        errno = ENOMEM;
        return NULL;
    }
    pthread_mutex_lock(&lock);
    void *start = carve(count * bytes, ALIGN); /* fresh from the kernel, so zero */
    pthread_mutex_unlock(&lock);
    return start;
}

EXPORT void free(void *start)
{
    pthread_mutex_lock(&lock);
    if (start == victim)
        victim = NULL;
    pthread_mutex_unlock(&lock);
}

EXPORT void *realloc(void *old, size_t bytes)
{
    char *start = malloc(bytes);
    if (old == NULL || start == NULL)
        return start;
    size_t old_bytes = *size_of(old);
    memmove(start, old, old_bytes < bytes ? old_bytes : bytes);
    free(old);
    return start;
}

EXPORT int posix_memalign(void **place, size_t align, size_t bytes)
{
    pthread_mutex_lock(&lock);
    void *start = carve(bytes, align < ALIGN ? ALIGN : align);
    pthread_mutex_unlock(&lock);
    if (start == NULL)
        return ENOMEM;
    *place = start;
    return 0;
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    void *start = NULL;
    errno = posix_memalign(&start, align, bytes);
    return start;
}

EXPORT void *memalign(size_t align, size_t bytes)
{
    return aligned_alloc(align, bytes);
}
