/* See host.h. */
#include "os/host.h"

#include "base/bits.h"
#include "base/config.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

size_t wr_host_page_bytes(void)
{
    return (size_t)getauxval(AT_PAGESZ);
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
    int saved = errno;
    char status[4096];
    size_t length = 0;
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t n;
        while (length < sizeof status - 1 &&
               (n = read(file, status + length, sizeof status - 1 - length)) > 0) {
            length += (size_t)n;
        }
        (void)close(file);
    }
    status[length] = '\0';
    *now_kib = status_field_kib(status, "\nVmRSS:");
    *peak_kib = status_field_kib(status, "\nVmHWM:");
    errno = saved;
    return *peak_kib != 0;
}

uint64_t wr_host_milliseconds(void)
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void wr_host_yield(void)
{
    (void)sched_yield();
}

long wr_host_process_id(void)
{
    return (long)getpid();
}
