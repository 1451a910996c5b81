/* The program that limit_test starts with an environment. It writes one line on standard error and
 * exits with 0. Not linked with cmocka.
 *
 *   (no argument)   "<soft> <hard>", the limits in bytes
 *   fill GROUP      joins the control group whose cgroup.procs is given, then touches blocks until
 *                   one is refused: "refused at <bytes> of <hard>" */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "family.h"

#define BLOCK_BYTES (1 << 20)
#define BLOCKS_MAX  200

static int say(const char *format, size_t a, size_t b)
{
    char line[128];
    int length = snprintf(line, sizeof line, format, a, b);
    return write(STDERR_FILENO, line, (size_t)length) == length ? 0 : 1;
}

/* The group is joined here, before the first touch, so that it counts all of it. */
static int join(const char *procs)
{
    int file = open(procs, O_WRONLY);
    return file >= 0 && write(file, "0", 1) == 1 ? close(file) : 1;
}

static int fill(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        char *block = t_malloc(BLOCK_BYTES);
        if (block == NULL) {
            size_t soft, hard;
            int error = errno;
            weir_limit_get(&soft, &hard);
            (void)weir_limit_set(0, 0); /* what reports coverage at the end allocates */
            return error == ENOMEM ? say("refused at %zu of %zu\n", bytes, hard) : 1;
        }
        memset(block, 1, BLOCK_BYTES);
        bytes += BLOCK_BYTES;
    }
    return say("never refused: %zu, %zu\n", bytes, 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "fill") == 0) {
        /* The limit of the group that is joined first holds for the program started then. */
        if (join(argv[2]) != 0) {
            return 2;
        }
        char run[] = "run";
        char *const again[] = {argv[0], run, NULL};
        extern char **environ;
        (void)execve(argv[0], again, environ);
        return 3;
    }
    if (argc == 2) {
        return fill();
    }
    size_t soft = 1;
    size_t hard = 1;
    weir_limit_get(&soft, &hard);
    return say("%zu %zu\n", soft, hard);
}
