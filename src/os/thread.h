/* A thread of the library's own: named, with all signals blocked, a small stack, and the ordinary
 * scheduling of the system, whatever the thread that makes it has.
 *
 * It is a thread of libc's, so that its errno, its credentials and its end are in order. Making one
 * allocates (libc's memory for it): only for callers that hold nothing and may allocate. libc frees
 * memory of ended threads with a lock held that making one needs, so never from within a free.
 * Source: pthread_create(3), pthread_setname_np(3), signal(7), sched(7). Keeps errno. */
#ifndef WR_OS_THREAD_H
#define WR_OS_THREAD_H

#include <pthread.h>

#include "base/compiler.h"

/* Starts `body`; false when there can be no thread now. The name has at most 15 characters. The
 * thread is to be joined, or to detach itself. */
bool wr_thread_start(void *(*body)(void *), const char *name, pthread_t *thread);

/* Waits until the thread has left libc; not for a thread that joins itself. */
void wr_thread_join(pthread_t thread);

/* The calling thread's number in the system, and whether a thread of this process has a number. In
 * the child of a fork that libc knows nothing of, the number is still the parent's. */
int wr_thread_number(void);
bool wr_thread_exists(int number);

#endif
