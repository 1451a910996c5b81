/* See cgroup.h. */
#include "os/cgroup.h"

#include "base/bits.h"
#include "os/host.h"

#include <string.h>

#define TEXT_BYTES 1024

/* A file read by lines. */
typedef struct reader {
    int file;
    size_t length; /* bytes in buffer */
    size_t at;     /* of them taken */
    char buffer[TEXT_BYTES];
} reader;

/* A hierarchy that may limit memory. */
typedef struct hierarchy {
    int version;           /* 1 or 2 */
    char path[TEXT_BYTES]; /* of the process's group, in the hierarchy; "" if it has none */
} hierarchy;

static int next_byte(reader *r)
{
    if (r->at == r->length) {
        r->length = wr_host_read(r->file, r->buffer, sizeof r->buffer);
        r->at = 0;
    }
    return r->at < r->length ? (unsigned char)r->buffer[r->at++] : -1;
}

/* The next line that fits, without its newline; false at the end. */
static bool next_line(reader *r, char *line)
{
    for (;;) {
        size_t length = 0;
        int c;
        while ((c = next_byte(r)) >= 0 && c != '\n') {
            if (length < TEXT_BYTES) {
                line[length] = (char)c;
            }
            length++;
        }
        if (length < TEXT_BYTES && (c >= 0 || length > 0)) {
            line[length] = '\0';
            return true;
        }
        if (c < 0) {
            return false;
        }
    }
}

/* Appends text to a path; false if it does not fit. */
static bool append(char *path, const char *text)
{
    size_t length = strlen(path);
    size_t more = strlen(text);
    if (more >= TEXT_BYTES - length) {
        return false;
    }
    memcpy(path + length, text, more + 1);
    return true;
}

static bool open_in(reader *r, const char *root, const char *path)
{
    char full[TEXT_BYTES] = "";
    r->length = r->at = 0;
    r->file = append(full, root) && append(full, path) ? wr_host_open(full) : -1;
    return r->file >= 0;
}

/* True if a list with commas has the word; the list ends at a 0 or at `end`. */
static bool has_word(const char *list, char end, const char *word)
{
    size_t length = strlen(word);
    while (*list != '\0' && *list != end) {
        const char *next = list;
        while (*next != '\0' && *next != end && *next != ',') {
            next++;
        }
        if ((size_t)(next - list) == length && memcmp(list, word, length) == 0) {
            return true;
        }
        list = *next == ',' ? next + 1 : next;
    }
    return false;
}

/* /proc/self/cgroup: the group's path in a hierarchy, "" if it is in none. Lines are
 * "<number>:<controllers>:<path>", with no controllers for version 2. */
static void find_path(const char *root, hierarchy *h)
{
    reader r;
    char line[TEXT_BYTES];
    h->path[0] = '\0';
    if (!open_in(&r, root, "/proc/self/cgroup")) {
        return;
    }
    while (h->path[0] == '\0' && next_line(&r, line)) {
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path != NULL && (h->version == 2 ? path == controllers + 1 && line[0] == '0'
                                             : has_word(controllers + 1, ':', "memory"))) {
            (void)append(h->path, path + 1);
        }
    }
    wr_host_close(r.file);
}

/* Ends a field at the next space and undoes the octal escapes that mountinfo has for spaces and the
 * like; the text behind, or NULL at the line's end. */
static char *cut_field(char *field)
{
    char *to = field;
    char *from = field;
    while (*from != '\0' && *from != ' ') {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
            from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            *to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    char *behind = *from == ' ' ? from + 1 : NULL;
    *to = '\0';
    return behind;
}

/* A line of mountinfo: "id parent device root mount-point options [tags] - type source options".
 * True if it mounts the hierarchy; *mounted is the directory in it that is seen at *mount_point. */
static bool parse_mount(char *line, int version, char **mounted, char **mount_point)
{
    char *type = strstr(line, " - ");
    if (type == NULL) {
        return false;
    }
    *type = '\0'; /* what stands before has its fields to itself */
    type += 3;
    char *source = cut_field(type);
    char *options = source == NULL ? NULL : cut_field(source);
    if (version == 2
            ? strcmp(type, "cgroup2") != 0
            : strcmp(type, "cgroup") != 0 || options == NULL || !has_word(options, ' ', "memory")) {
        return false;
    }
    char *field = line;
    for (unsigned skipped = 0; skipped < 3 && field != NULL; skipped++) {
        field = cut_field(field);
    }
    *mounted = field;
    *mount_point = field == NULL ? NULL : cut_field(field);
    return *mount_point != NULL && (cut_field(*mount_point), true);
}

/* The number in a limit file; 0 if there is none, or it is "max". */
static size_t read_limit(const char *root, const char *directory, int version)
{
    char path[TEXT_BYTES] = "";
    char line[TEXT_BYTES];
    reader r;
    if (!append(path, directory) ||
        !append(path, version == 2 ? "/memory.max" : "/memory.limit_in_bytes") ||
        !open_in(&r, root, path)) {
        return 0;
    }
    size_t limit = 0;
    if (next_line(&r, line)) {
        for (const char *p = line; *p >= '0' && *p <= '9'; p++) {
            if (__builtin_mul_overflow(limit, 10, &limit) ||
                __builtin_add_overflow(limit, (size_t)(*p - '0'), &limit)) {
                limit = 0;
                break;
            }
        }
    }
    wr_host_close(r.file);
    return limit;
}

/* Version 1 says "no limit" by a number of whole pages near 2^63. */
#define HUGE_LIMIT ((size_t)1 << 62)

static size_t smaller(size_t a, size_t b)
{
    a = a >= HUGE_LIMIT ? 0 : a;
    b = b >= HUGE_LIMIT ? 0 : b;
    return a == 0 || b == 0 ? wr_max(a, b) : wr_min(a, b);
}

/* The smallest limit from a group up to the mount point. */
static size_t limit_upwards(const char *root, const hierarchy *h, const char *mounted,
                            const char *mount_point)
{
    /* The mount may show a part of the hierarchy alone; a group outside of it is not seen, and what
     * is seen is taken for ours, as in a container. */
    size_t prefix = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    const char *below = h->path;
    bool seen = strncmp(below, mounted, prefix) == 0 &&
                (below[prefix] == '/' || below[prefix] == '\0') && strstr(below, "/..") == NULL;
    char directory[TEXT_BYTES] = "";
    if (!append(directory, mount_point) || (seen && !append(directory, below + prefix))) {
        return 0;
    }
    size_t top = strlen(mount_point);
    size_t limit = 0;
    for (size_t length = strlen(directory);;) {
        directory[length] = '\0';
        limit = smaller(limit, read_limit(root, directory, h->version));
        if (length <= top) {
            return limit;
        }
        while (length > top && directory[length - 1] != '/') {
            length--;
        }
        length -= length > top; /* the slash */
    }
}

static size_t limit_of_version(const char *root, int version)
{
    hierarchy h = {.version = version};
    find_path(root, &h);
    reader r;
    if (h.path[0] == '\0' || !open_in(&r, root, "/proc/self/mountinfo")) {
        return 0;
    }
    size_t limit = 0;
    char line[TEXT_BYTES];
    while (next_line(&r, line)) {
        char *mounted;
        char *mount_point;
        if (parse_mount(line, version, &mounted, &mount_point)) {
            limit = smaller(limit, limit_upwards(root, &h, mounted, mount_point));
        }
    }
    wr_host_close(r.file);
    return limit;
}

size_t wr_cgroup_memory_limit(const char *root)
{
    return smaller(limit_of_version(root, 1), limit_of_version(root, 2));
}
