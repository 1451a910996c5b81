/* See thread.h. */
#include "os/thread.h"

#include "base/config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

static bool start(void *(*body)(void *), size_t stack_bytes, pthread_t *thread)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    bool done = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                (stack_bytes == 0 || pthread_attr_setstacksize(&attributes, stack_bytes) == 0) &&
                pthread_create(thread, &attributes, body, NULL) == 0;
    (void)pthread_attr_destroy(&attributes);
    return done;
}

bool wr_thread_start(void *(*body)(void *), const char *name)
{
    int saved = errno;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    pthread_t thread;
    /* The default size where the program's thread-local storage leaves too little of a small one.
     */
    bool done = start(body, WR_THREAD_STACK_BYTES, &thread) || start(body, 0, &thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (done) {
        (void)pthread_setname_np(thread, name);
    }
    errno = saved;
    return done;
}
