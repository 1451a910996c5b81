/* libweir_record.so: writes down what a program asks of malloc, in the format of trace.h.
 *
 *   LD_PRELOAD=libweir_record.so WEIR_RECORD=FILE program      writes FILE.<pid>
 *   LD_PRELOAD="libweir_record.so libother.so" ...             the same, over another malloc
 *
 * It stands before any malloc and allocates nothing through it: buffers are mapped, one per thread.
 * A full buffer is appended to the file under a lock; the rest at the end of the process. A child
 * of fork has a file of its own, which knows nothing of its parent's blocks. What is buffered when
 * a process is killed, or calls _exit or exec, is lost. Without WEIR_RECORD nothing is written.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT          __attribute__((visibility("default")))
#define BUFFER_BYTES    65536u
#define LINE_BYTES_MAX  128u   /* six numbers of 16 digits, a letter and spaces */
#define BOOTSTRAP_BYTES 65536u /* for what dlsym asks for while it looks for malloc */
#define PATH_BYTES      4096u
#define PID_DIGITS      20u

/* A thread's events on their way to the file. Mapped once and used again by later threads. */
struct buffer {
    struct buffer *next; /* in the list of all; constant once listed */
    atomic_bool in_use;  /* belongs to a thread */
    size_t used;         /* bytes; written by the owner, and at the end or after fork by the last */
    char text[BUFFER_BYTES];
};

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
} real;

/* 0: not looked for; 1: a thread is looking; 2: `real` is complete. */
static atomic_int real_state;
static _Thread_local bool looking; /* this thread is the one */

static _Alignas(16) char bootstrap[BOOTSTRAP_BYTES];
static size_t bootstrap_used; /* by the one thread that is looking */

static atomic_uint_fast64_t orders;  /* numbers given out */
static atomic_uint_fast32_t threads; /* numbers given out */
static _Atomic(struct buffer *) buffers;
static pthread_key_t owner_key; /* its destructor gives a dead thread's buffer back */
static atomic_bool recording;   /* there is a file to write to */

static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER; /* protects the four below */
static char path[PATH_BYTES + PID_DIGITS];
static size_t path_bytes; /* without the process number */
static bool file_begun;   /* this process has written to it */

static _Thread_local struct buffer *own;
static _Thread_local uint32_t own_number; /* plus one; 0 is none yet */
static _Thread_local bool busy;           /* inside the recorder: calls pass through unseen */

static void write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, text, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        text += written;
        bytes -= (size_t)written;
    }
}

/* Appends the process number to the path. */
static void complete_path(void)
{
    char digits[PID_DIGITS];
    size_t count = 0;
    for (unsigned long pid = (unsigned long)getpid(); pid > 0; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    char *at = path + path_bytes;
    while (count > 0)
        *at++ = digits[--count];
    *at = '\0';
}

/* The caller holds file_lock. The file is opened for each write, since programs close what they did
 * not open. */
static void flush_locked(struct buffer *buffer)
{
    if (buffer->used == 0)
        return;
    if (!file_begun)
        complete_path();
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (file_begun ? O_APPEND : O_TRUNC), 0666);
    if (fd >= 0) {
        write_all(fd, buffer->text, buffer->used);
        close(fd);
    }
    file_begun = true;
    buffer->used = 0;
}

static void flush(struct buffer *buffer)
{
    pthread_mutex_lock(&file_lock);
    flush_locked(buffer);
    pthread_mutex_unlock(&file_lock);
}

static struct buffer *reuse_buffer(void)
{
    /* acquire: the list up to it. Pairs with new_buffer. */
    struct buffer *buffer = atomic_load_explicit(&buffers, memory_order_acquire);
    for (; buffer != NULL; buffer = buffer->next) {
        /* acquire: what the owner before left in it. Pairs with end_thread. */
        if (!atomic_exchange_explicit(&buffer->in_use, true, memory_order_acquire))
            return buffer;
    }
    return NULL;
}

static struct buffer *new_buffer(void)
{
    struct buffer *buffer =
        mmap(NULL, sizeof *buffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return NULL;
    atomic_init(&buffer->in_use, true);
    buffer->next = atomic_load_explicit(&buffers, memory_order_relaxed);
    /* release: its fields. Pairs with reuse_buffer. Nothing leaves the list, so no ABA. */
    while (!atomic_compare_exchange_weak_explicit(&buffers, &buffer->next, buffer,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    return buffer;
}

/* The thread's key destructor. Events after it get a buffer once more. */
static void end_thread(void *buffer)
{
    busy = true;
    flush(buffer);
    own = NULL;
    /* release: the empty buffer. Pairs with reuse_buffer. */
    atomic_store_explicit(&((struct buffer *)buffer)->in_use, false, memory_order_release);
    busy = false;
}

static struct buffer *own_buffer(void)
{
    if (own == NULL) {
        own = reuse_buffer();
        if (own == NULL)
            own = new_buffer();
        if (own != NULL)
            pthread_setspecific(owner_key, own);
    }
    if (own != NULL && own->used > BUFFER_BYTES - LINE_BYTES_MAX)
        flush(own);
    return own;
}

static char *put_hex(char *at, uint64_t number)
{
    unsigned shift = 60;
    while (shift > 0 && number >> shift == 0)
        shift -= 4;
    for (;; shift -= 4) {
        *at++ = "0123456789abcdef"[number >> shift & 15];
        if (shift == 0)
            break;
    }
    *at++ = ' ';
    return at;
}

/* A place in the order. relaxed: the malloc orders the end of a block before the next beginning at
 * its address, and this number has one order for all. */
static uint64_t next_order(void)
{
    return atomic_fetch_add_explicit(&orders, 1, memory_order_relaxed);
}

static void write_event(uint64_t order, char kind, const uint64_t *fields, size_t count)
{
    int saved_errno = errno;
    busy = true;
    struct buffer *buffer = own_buffer();
    if (buffer != NULL) {
        if (own_number == 0)
            own_number = (uint32_t)atomic_fetch_add(&threads, 1) + 1;
        char *at = put_hex(buffer->text + buffer->used, order);
        at = put_hex(at, own_number - 1);
        *at++ = kind;
        *at++ = ' ';
        for (size_t i = 0; i < count; i++)
            at = put_hex(at, fields[i]);
        at[-1] = '\n';
        buffer->used = (size_t)(at - buffer->text);
    }
    busy = false;
    errno = saved_errno;
}

/* Whether a call is to be written down. */
static bool watched(void)
{
    return !busy && atomic_load_explicit(&recording, memory_order_acquire);
}

static void note_new(char kind, const void *start, size_t bytes, size_t align)
{
    if (start != NULL && watched()) {
        uint64_t fields[] = {(uintptr_t)start, bytes, align};
        write_event(next_order(), kind, fields, kind == 'a' ? 3 : 2);
    }
}

static bool is_bootstrap(const void *start)
{
    return (uintptr_t)start - (uintptr_t)bootstrap < sizeof bootstrap;
}

/* A zeroed block that is never freed, with its size in front. */
static void *bootstrap_new(size_t bytes)
{
    size_t need = (bytes + 31) & ~(size_t)15;
    if (bytes > sizeof bootstrap || need > sizeof bootstrap - bootstrap_used)
        return NULL;
    char *start = bootstrap + bootstrap_used + 16;
    bootstrap_used += need;
    memcpy(start - 16, &bytes, sizeof bytes);
    return start;
}

static size_t bootstrap_bytes(const void *start)
{
    size_t bytes;
    memcpy(&bytes, (const char *)start - 16, sizeof bytes);
    return bytes;
}

/* Takes the address of a function from an object pointer, as dlsym gives it. */
static void find_real(void *function, const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    if (address == NULL)
        abort();
    memcpy(function, &address, sizeof address);
}

static void find_all(void)
{
    looking = true;
    find_real(&real.malloc, "malloc");
    find_real(&real.calloc, "calloc");
    find_real(&real.realloc, "realloc");
    find_real(&real.free, "free");
    find_real(&real.posix_memalign, "posix_memalign");
    find_real(&real.aligned_alloc, "aligned_alloc");
    find_real(&real.memalign, "memalign");
    looking = false;
}

/* Whether `real` may be called: false only for what dlsym itself asks for. */
static bool ready(void)
{
    /* acquire: `real`. Pairs with the store below. */
    if (__builtin_expect(atomic_load_explicit(&real_state, memory_order_acquire) == 2, 1))
        return true;
    if (looking)
        return false;
    int none = 0;
    if (atomic_compare_exchange_strong(&real_state, &none, 1)) {
        find_all();
        /* release: `real`. Pairs with the loads above and below. */
        atomic_store_explicit(&real_state, 2, memory_order_release);
    }
    while (atomic_load_explicit(&real_state, memory_order_acquire) != 2)
        continue;
    return true;
}

EXPORT void *malloc(size_t bytes)
{
    if (!ready())
        return bootstrap_new(bytes);
    void *start = real.malloc(bytes);
    note_new('m', start, bytes, 0);
    return start;
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    if (!ready())
        return bytes != 0 && count > SIZE_MAX / bytes ? NULL : bootstrap_new(count * bytes);
    void *start = real.calloc(count, bytes);
    note_new('c', start, count * bytes, 0);
    return start;
}

EXPORT void free(void *start)
{
    if (start == NULL || is_bootstrap(start) || !ready())
        return;
    if (watched()) {
        uint64_t fields[] = {(uintptr_t)start};
        write_event(next_order(), 'f', fields, 1);
    }
    real.free(start);
}

EXPORT void *realloc(void *old, size_t bytes)
{
    if (old == NULL)
        return malloc(bytes);
    if (is_bootstrap(old)) {
        void *start = malloc(bytes);
        size_t old_bytes = bootstrap_bytes(old);
        if (start != NULL)
            memcpy(start, old, old_bytes < bytes ? old_bytes : bytes);
        return start;
    }
    if (!ready())
        return NULL;
    bool is_watched = watched();
    uint64_t released = is_watched ? next_order() : 0;
    uintptr_t old_number = (uintptr_t)old;
    void *start = real.realloc(old, bytes);
    if (is_watched && start != NULL) {
        uint64_t fields[] = {(uintptr_t)start, bytes, old_number, released};
        write_event(next_order(), 'r', fields, 4);
    } else if (is_watched && bytes == 0) {
        /* glibc's way: a realloc to nothing is a free. */
        uint64_t fields[] = {old_number};
        write_event(released, 'f', fields, 1);
    }
    return start;
}

EXPORT void *reallocarray(void *old, size_t count, size_t bytes)
{
    if (bytes != 0 && count > SIZE_MAX / bytes) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, count * bytes);
}

EXPORT int posix_memalign(void **place, size_t align, size_t bytes)
{
    if (!ready())
        return ENOMEM;
    int result = real.posix_memalign(place, align, bytes);
    if (result == 0)
        note_new('a', *place, bytes, align);
    return result;
}

EXPORT void *aligned_alloc(size_t align, size_t bytes)
{
    if (!ready())
        return NULL;
    void *start = real.aligned_alloc(align, bytes);
    note_new('a', start, bytes, align);
    return start;
}

EXPORT void *memalign(size_t align, size_t bytes)
{
    if (!ready())
        return NULL;
    void *start = real.memalign(align, bytes);
    note_new('a', start, bytes, align);
    return start;
}

EXPORT void *valloc(size_t bytes)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), bytes);
}

EXPORT void *pvalloc(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return memalign(page, (bytes + page - 1) & ~(page - 1));
}

static void before_fork(void)
{
    pthread_mutex_lock(&file_lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&file_lock);
}

/* What is in the buffers is the parent's to write; only the forking thread lives on. */
static void after_fork_in_child(void)
{
    for (struct buffer *buffer = atomic_load(&buffers); buffer != NULL; buffer = buffer->next) {
        buffer->used = 0;
        atomic_store(&buffer->in_use, buffer == own);
    }
    atomic_store(&orders, 0);
    atomic_store(&threads, 0);
    own_number = 0;
    file_begun = false;
    pthread_mutex_unlock(&file_lock);
}

/* Makes the path absolute, since the program may change its directory. */
static bool set_path(const char *wanted)
{
    size_t used = 0;
    if (wanted[0] != '/') {
        if (getcwd(path, PATH_BYTES / 2) == NULL)
            return false;
        used = strlen(path);
        path[used++] = '/';
    }
    size_t bytes = strlen(wanted);
    if (bytes == 0 || bytes > PATH_BYTES / 2 - 2)
        return false;
    memcpy(path + used, wanted, bytes);
    path[used + bytes] = '.';
    path_bytes = used + bytes + 1;
    return true;
}

__attribute__((constructor)) static void begin(void)
{
    const char *wanted = getenv("WEIR_RECORD");
    if (wanted == NULL || !set_path(wanted) || !ready() ||
        pthread_key_create(&owner_key, end_thread) != 0 ||
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0)
        return;
    /* release: the path. Pairs with watched. */
    atomic_store_explicit(&recording, true, memory_order_release);
}

/* Threads that still run may lose their last events. */
__attribute__((destructor)) static void end(void)
{
    if (!atomic_exchange(&recording, false))
        return;
    pthread_mutex_lock(&file_lock);
    for (struct buffer *buffer = atomic_load(&buffers); buffer != NULL; buffer = buffer->next)
        flush_locked(buffer);
    pthread_mutex_unlock(&file_lock);
}
