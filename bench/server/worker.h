/* A worker: an epoll set of connections and the thread that serves them.
 *
 * The thread retires after a number of requests; the worker lives on, and its owner gives it a new
 * thread. So threads come and go while connections stay, and what one thread allocated another
 * frees.
 * Must not know how connections are accepted.
 * Threads: all functions are the owner's, one thread's.
 */
#ifndef BENCH_SERVER_WORKER_H
#define BENCH_SERVER_WORKER_H

#include "store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct connection;

/* What all workers of a server share. */
struct worker_group {
    struct store *store;          /* constant */
    uint64_t requests_per_thread; /* constant; a thread retires at this many */
    int retired_fd;               /* constant; eventfd that wakes the owner when a thread retires */
    atomic_bool stopping;         /* set once, by the owner */
};

struct worker {
    struct worker_group *group;     /* constant */
    int epoll_fd;                   /* constant; data.ptr is a connection, or NULL for wake_fd */
    int wake_fd;                    /* constant; eventfd that wakes the thread to stop */
    bool has_thread;                /* the owner's: `thread` is to be joined */
    pthread_t thread;               /* the owner's */
    uint64_t threads_started;       /* the owner's; count */
    uint64_t served;                /* requests, by all threads so far; the running thread's, the
                                       owner's after it has joined that */
    atomic_bool retired;            /* set by the thread as its last act, cleared by the owner */
    pthread_mutex_t lock;           /* protects the list */
    struct connection *connections; /* all of them; the owner adds, the thread removes */
};

/* A worker without a thread. False, with errno, if the kernel refuses. */
bool worker_open(struct worker *worker, struct worker_group *group);

/* Starts the first thread, or replaces one that has retired; nothing if one is running.
 * Returns 0, or the error number of pthread_create. */
int worker_run(struct worker *worker);

/* Takes over a connected, non-blocking socket. Closes it when there is no memory. */
void worker_add(struct worker *worker, int fd);

/* Ends the thread, which is safe once the group is stopping, and frees all connections. */
void worker_close(struct worker *worker);

#endif
