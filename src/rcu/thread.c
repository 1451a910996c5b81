/* See thread.h. */
#include "rcu/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

bool wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name)
{
    int saved = errno;
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    bool done = pthread_create(&thread, NULL, body, argument) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (done) {
        (void)pthread_setname_np(thread, name);
        (void)pthread_detach(thread);
    }
    errno = saved;
    return done;
}
