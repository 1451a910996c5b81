/* See futex.h. */
#include "os/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void futex(_Atomic uint32_t *word, int operation, uint32_t value, struct timespec *time)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, time, NULL, 0);
    errno = saved;
}

void wr_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    futex(word, FUTEX_WAIT, value, milliseconds == WR_FUTEX_FOR_EVER ? NULL : &time);
}

void wr_futex_wake(_Atomic uint32_t *word)
{
    futex(word, FUTEX_WAKE, 1, NULL);
}
