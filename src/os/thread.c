/* See thread.h. */
#include "os/thread.h"

#include "base/config.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ordinary scheduling, on the CPUs that the process's first thread may have. */
static bool set_scheduling(pthread_attr_t *attributes)
{
    struct sched_param ordinary = {.sched_priority = 0};
    cpu_set_t all;
    return sched_getaffinity(getpid(), sizeof all, &all) == 0 &&
           pthread_attr_setinheritsched(attributes, PTHREAD_EXPLICIT_SCHED) == 0 &&
           pthread_attr_setschedpolicy(attributes, SCHED_OTHER) == 0 &&
           pthread_attr_setschedparam(attributes, &ordinary) == 0 &&
           pthread_attr_setaffinity_np(attributes, sizeof all, &all) == 0;
}

static bool start(void *(*body)(void *), size_t stack_bytes, bool ordinary, pthread_t *thread)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    bool done = (!ordinary || set_scheduling(&attributes)) &&
                (stack_bytes == 0 || pthread_attr_setstacksize(&attributes, stack_bytes) == 0) &&
                pthread_create(thread, &attributes, body, NULL) == 0;
    (void)pthread_attr_destroy(&attributes);
    return done;
}

bool wr_thread_start(void *(*body)(void *), const char *name, pthread_t *thread)
{
    int saved = errno;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    /* The default size where the program's thread-local storage leaves too little of a small one;
     * the caller's scheduling where another is forbidden. */
    bool done = start(body, WR_THREAD_STACK_BYTES, true, thread) || start(body, 0, true, thread) ||
                start(body, WR_THREAD_STACK_BYTES, false, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (done) {
        (void)pthread_setname_np(*thread, name);
    }
    errno = saved;
    return done;
}

void wr_thread_join(pthread_t thread)
{
    int saved = errno;
    (void)pthread_join(thread, NULL);
    errno = saved;
}

/* By the clock of its processor time, whose name the kernel defines as made of the number, and libc
 * makes without a system call: the birth of a thread has few others. */
int wr_thread_number(void)
{
    enum { KIND_BITS = 3 };
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? ~(clock >> KIND_BITS)
                                                              : (int)syscall(SYS_gettid);
}

bool wr_thread_exists(int number)
{
    int saved = errno;
    bool exists = syscall(SYS_tgkill, getpid(), number, 0) == 0 || errno != ESRCH;
    errno = saved;
    return exists;
}
