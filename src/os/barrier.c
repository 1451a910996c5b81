/* See barrier.h. */
#include "os/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool wr_barrier_all(void)
{
    int saved = errno;
    bool done = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    if (!done && errno == EPERM) { /* this process has not registered yet */
        done = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
               membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    }
    errno = saved;
    return done;
}
