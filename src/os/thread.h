/* A thread of the library's own: detached, named, with all signals blocked and a small stack.
 *
 * It is a thread of libc's, so that its errno, its credentials and its end are in order. Making one
 * allocates (libc's memory for it): only for callers that hold nothing and may allocate. libc frees
 * memory of ended threads with a lock held that making one needs, so never from within a free.
 * Source: pthread_create(3), pthread_setname_np(3), signal(7). Keeps errno. */
#ifndef WR_OS_THREAD_H
#define WR_OS_THREAD_H

#include "base/compiler.h"

/* Starts `body`; false when there can be no thread now. The name has at most 15 characters. */
bool wr_thread_start(void *(*body)(void *), const char *name);

#endif
