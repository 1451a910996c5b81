/* What the kernel says of the process's mappings: /proc/self/maps and /proc/self/smaps. */
#ifndef WEIR_TESTS_MAPS_H
#define WEIR_TESTS_MAPS_H

#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Lines of /proc/self/maps; read in place, so that the count is of this moment. */
static inline size_t maps_lines(void)
{
    static char text[64 * 1024];
    size_t lines = 0;
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    ssize_t n;
    while ((n = read(file, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            lines += text[i] == '\n';
        }
    }
    CHECK(close(file) == 0);
    return lines;
}

/* True if the mapping that an address lies in has a flag of the line VmFlags, "dd" or "nh". */
static inline bool maps_has_flag(uintptr_t address, const char *flag)
{
    char line[1024];
    bool inside = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long start;
        unsigned long end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            inside = address >= start && address < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            char word[8];
            (void)snprintf(word, sizeof word, " %s ", flag);
            bool has = strstr(line, word) != NULL;
            (void)fclose(file);
            return has;
        }
    }
    (void)fclose(file);
    return false;
}

#endif
