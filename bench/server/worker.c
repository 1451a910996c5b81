/* The event loop and its threads; see worker.h. */
#include "worker.h"

#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64

/* Wakes whoever polls `fd`. The write cannot fail: the counter is far from its limit. */
static void signal_event(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void unlink_and_free(struct worker *worker, struct connection *connection)
{
    pthread_mutex_lock(&worker->lock);
    if (connection->next != NULL)
        connection->next->prev = connection->prev;
    if (connection->prev != NULL)
        connection->prev->next = connection->next;
    else
        worker->connections = connection->next;
    pthread_mutex_unlock(&worker->lock);
    connection_free(connection);
}

/* Tells the kernel what the connection waits for, if that has changed. */
static bool wait_for(struct worker *worker, struct connection *connection, uint32_t events)
{
    if (connection->waits_for == events)
        return true;
    connection->waits_for = events;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0;
}

static void serve(struct worker *worker, struct connection *connection)
{
    bool keep = false;
    switch (connection_serve(connection, worker->group->store, &worker->served)) {
    case CONNECTION_READ:
        keep = wait_for(worker, connection, EPOLLIN);
        break;
    case CONNECTION_WRITE:
        keep = wait_for(worker, connection, EPOLLOUT);
        break;
    case CONNECTION_READ_OR_WRITE:
        keep = wait_for(worker, connection, EPOLLIN | EPOLLOUT);
        break;
    case CONNECTION_CLOSE:
        break;
    }
    if (!keep)
        unlink_and_free(worker, connection);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct worker_group *group = worker->group;
    uint64_t last = worker->served + group->requests_per_thread;
    /* relaxed: the flag publishes nothing, and wake_fd ends the wait. */
    while (!atomic_load_explicit(&group->stopping, memory_order_relaxed)) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int count = epoll_wait(worker->epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL)
                serve(worker, events[i].data.ptr);
        }
        if (worker->served >= last)
            break;
    }
    /* relaxed: what the thread did reaches the owner by pthread_join. */
    atomic_store_explicit(&worker->retired, true, memory_order_relaxed);
    signal_event(group->retired_fd);
    return NULL;
}

bool worker_open(struct worker *worker, struct worker_group *group)
{
    memset(worker, 0, sizeof *worker);
    worker->group = group;
    pthread_mutex_init(&worker->lock, NULL);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (worker->wake_fd >= 0 && worker->epoll_fd >= 0 &&
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) == 0)
        return true;
    int error = errno;
    worker_close(worker);
    errno = error;
    return false;
}

/* Waits for the thread's end, if there is one. */
static void join(struct worker *worker)
{
    if (worker->has_thread)
        pthread_join(worker->thread, NULL);
    worker->has_thread = false;
}

int worker_run(struct worker *worker)
{
    if (worker->has_thread && !atomic_load_explicit(&worker->retired, memory_order_relaxed))
        return 0;
    join(worker);
    atomic_store_explicit(&worker->retired, false, memory_order_relaxed);
    int error = pthread_create(&worker->thread, NULL, worker_main, worker);
    worker->has_thread = error == 0;
    worker->threads_started += error == 0;
    return error;
}

void worker_add(struct worker *worker, int fd)
{
    struct connection *connection = connection_new(fd);
    if (connection == NULL) {
        close(fd);
        return;
    }
    connection->waits_for = EPOLLIN;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    pthread_mutex_lock(&worker->lock);
    connection->next = worker->connections;
    if (connection->next != NULL)
        connection->next->prev = connection;
    worker->connections = connection;
    pthread_mutex_unlock(&worker->lock);
    /* From here on the connection is the thread's, unless the kernel refuses it. */
    if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        unlink_and_free(worker, connection);
}

void worker_close(struct worker *worker)
{
    if (worker->has_thread)
        signal_event(worker->wake_fd);
    join(worker);
    while (worker->connections != NULL)
        unlink_and_free(worker, worker->connections);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    pthread_mutex_destroy(&worker->lock);
}
