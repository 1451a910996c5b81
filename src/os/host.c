/* See host.h. */
#include "os/host.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/config.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

size_t wr_host_page_bytes(void)
{
    static _Atomic size_t page_bytes; /* relaxed: each thread finds the same; 0: not yet */
    size_t bytes = wr_load_relaxed(&page_bytes);
    if (WR_UNLIKELY(bytes == 0)) {
        bytes = (size_t)getauxval(AT_PAGESZ);
        wr_store_relaxed(&page_bytes, bytes);
    }
    return bytes;
}

bool wr_host_is_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

char *const *wr_host_environment(void)
{
    return environ;
}

bool wr_host_is_linker_memory(uintptr_t address)
{
    uintptr_t base = (uintptr_t)getauxval(AT_BASE); /* 0 in a static program */
    if (base == 0 || address < base) {
        return false;
    }
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)base;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(base + header->e_phoff);
    uintptr_t end = base;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD) {
            end = wr_max(end, base + segments[i].p_vaddr + segments[i].p_memsz);
        }
    }
    /* Its first allocations take what is left of the last page. */
    return address < wr_align_up(end, wr_host_page_bytes());
}

int wr_host_open(const char *path)
{
    int saved = errno;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    errno = saved;
    return file;
}

size_t wr_host_read(int file, char *text, size_t room)
{
    int saved = errno;
    size_t length = 0;
    while (file >= 0 && length < room) {
        long n = syscall(SYS_read, file, text + length, room - length);
        if (n > 0) {
            length += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            break;
        }
    }
    errno = saved;
    return length;
}

void wr_host_close(int file)
{
    int saved = errno;
    if (file >= 0) {
        (void)syscall(SYS_close, file);
    }
    errno = saved;
}

/* The number of KiB behind a line start such as "\nVmRSS:" in the text of /proc/self/status. The
 * newline counts: the process may have any name, which the text shows without newlines. */
static size_t status_field_kib(const char *status, const char *line_start)
{
    const char *p = strstr(status, line_start);
    if (p == NULL) {
        return 0;
    }
    p += strlen(line_start);
    while (*p == ' ' || *p == '\t') {
        p++;
    }
    size_t kib = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        kib = kib * 10 + (size_t)(*p - '0');
    }
    return kib;
}

bool wr_host_resident_kib(size_t *now_kib, size_t *peak_kib)
{
    char status[4096];
    int file = wr_host_open("/proc/self/status");
    size_t length = wr_host_read(file, status, sizeof status - 1);
    wr_host_close(file);
    status[length] = '\0';
    *now_kib = status_field_kib(status, "\nVmRSS:");
    *peak_kib = status_field_kib(status, "\nVmHWM:");
    return *peak_kib != 0;
}

/* What is read of a line of /proc/self/maps: "low-high rest". */
typedef struct bounds {
    uintptr_t value[2]; /* low, high */
    unsigned field;     /* that is being read; 2: the rest */
} bounds;

static void read_bound(bounds *b, char c)
{
    if (c == '\n') {
        *b = (bounds){{0, 0}, 0};
    } else if (c >= '0' && c <= '9' && b->field < 2) {
        b->value[b->field] = b->value[b->field] * 16 + (uintptr_t)(c - '0');
    } else if (c >= 'a' && c <= 'f' && b->field < 2) {
        b->value[b->field] = b->value[b->field] * 16 + (uintptr_t)(c - 'a' + 10);
    } else if (b->field < 2) {
        b->field++;
    }
}

static bool is_within(const bounds *b, uintptr_t address)
{
    return address >= b->value[0] && address < b->value[1];
}

bool wr_host_is_stack(const void *address)
{
    char text[1024];
    bool found = false;
    bounds b = {{0, 0}, 0};
    int file = wr_host_open("/proc/self/maps");
    for (size_t length; (length = wr_host_read(file, text, sizeof text)) != 0;) {
        for (size_t i = 0; i < length; i++) {
            read_bound(&b, text[i]);
            found = found || (b.field == 2 && is_within(&b, (uintptr_t)text) &&
                              is_within(&b, (uintptr_t)address));
        }
    }
    wr_host_close(file);
    return found;
}

uint64_t wr_host_milliseconds(void)
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool wr_host_huge_pages_always(const char *root)
{
    static const char name[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    char path[256];
    char text[64];
    size_t length = strlen(root);
    if (length > sizeof path - sizeof name) {
        return false;
    }
    memcpy(path, root, length);
    memcpy(path + length, name, sizeof name);
    int file = wr_host_open(path);
    text[wr_host_read(file, text, sizeof text - 1)] = '\0';
    wr_host_close(file);
    return strstr(text, "[always]") != NULL;
}

void wr_host_yield(void)
{
    (void)sched_yield();
}

long wr_host_process_id(void)
{
    return (long)getpid();
}

uintptr_t wr_host_thread_mark(void)
{
    return (uintptr_t)&errno;
}

uint64_t wr_host_random(void)
{
    static _Atomic uint64_t state; /* relaxed: each gets another number, in any order */
    if (wr_load_relaxed(&state) == 0) {
        uint64_t seed = (uintptr_t)&errno;
        int saved = errno;
        (void)syscall(SYS_getrandom, &seed, sizeof seed, GRND_NONBLOCK);
        errno = saved;
        wr_store_relaxed(&state, seed | 1);
    }
    uint64_t x = wr_fetch_add_relaxed(&state, 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

size_t wr_host_memory_bytes(void)
{
    int saved = errno;
    struct sysinfo info;
    size_t bytes = sysinfo(&info) == 0 ? (size_t)info.totalram * info.mem_unit : 0;
    errno = saved;
    return bytes;
}
