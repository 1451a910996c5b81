/* See resident.h. */
#include "memory/resident.h"

#include "memory/fail.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 4096u /* of the longest of the files */

static int statm;
static int status;
static int rollup; /* -1 where the kernel has none */
static uint64_t page_bytes;

void resident_open(void)
{
    statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    rollup = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    if (statm < 0 || status < 0)
        fail("/proc/self cannot be read");
}

/* Reads the file into `text`, ended by NUL. */
static void read_text(int file, char text[TEXT_BYTES])
{
    size_t length = 0;
    ssize_t got;
    while (length < TEXT_BYTES - 1 &&
           (got = pread(file, text + length, TEXT_BYTES - 1 - length, (off_t)length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
}

/* The number behind `name`, which begins a line; in bytes, 0 without it. */
static uint64_t field_bytes(const char *text, const char *name)
{
    const char *found = strstr(text, name);
    return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10) * 1024;
}

uint64_t resident_now(void)
{
    char text[TEXT_BYTES];
    read_text(statm, text);
    const char *space = strchr(text, ' ');
    return space == NULL ? 0 : strtoull(space, NULL, 10) * page_bytes;
}

struct resident resident_exact(void)
{
    char text[TEXT_BYTES];
    if (rollup < 0)
        return (struct resident){resident_now(), 0};
    read_text(rollup, text);
    return (struct resident){field_bytes(text, "\nRss:"), field_bytes(text, "\nLazyFree:")};
}

uint64_t resident_peak(void)
{
    char text[TEXT_BYTES];
    read_text(status, text);
    return field_bytes(text, "\nVmHWM:");
}
