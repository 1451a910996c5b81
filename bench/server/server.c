/* weir_example_server: an in-memory key-value server on 127.0.0.1, as a load for a malloc.
 *
 * Prints the port on the first line of stdout. SIGTERM or SIGINT ends it: it frees everything,
 * prints what it served, and exits with 0.
 * The main thread accepts, hands connections to the workers in turn, and replaces the threads that
 * retire.
 */
#include "args.h"
#include "store.h"
#include "wire.h"
#include "worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS_MAX       256u
#define LISTEN_BACKLOG    128
#define ACCEPT_PAUSE_USEC 10000 /* when descriptors or memory for a connection are short */

struct server {
    int listen_fd;
    int signal_fd;
    struct worker_group group;
    struct worker *workers; /* worker_count of them are open */
    size_t worker_count;
    uint64_t connections; /* accepted so far */
};

static bool complain(const char *what)
{
    fprintf(stderr, "weir_example_server: %s: %s\n", what, strerror(errno));
    return false;
}

/* Listens on 127.0.0.1 and prints the port that the kernel chose if `port` is 0. */
static bool listen_on(struct server *server, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t address_bytes = sizeof address;
    int yes = 1;
    server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listen_fd < 0)
        return complain("socket");
    setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server->listen_fd, (struct sockaddr *)&address, sizeof address) != 0)
        return complain("bind");
    if (listen(server->listen_fd, LISTEN_BACKLOG) != 0)
        return complain("listen");
    if (getsockname(server->listen_fd, (struct sockaddr *)&address, &address_bytes) != 0)
        return complain("getsockname");
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    return fflush(stdout) == 0 || complain("stdout");
}

/* Turns SIGTERM and SIGINT into readable data, in every thread that starts from now on. */
static bool catch_signals(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return server->signal_fd >= 0 || complain("signalfd");
}

static bool run_worker(struct worker *worker)
{
    int error = worker_run(worker);
    if (error == 0)
        return true;
    errno = error;
    return complain("pthread_create");
}

static bool start_workers(struct server *server, size_t count)
{
    server->group.store = store_new(WIRE_VALUE_BYTES_MAX);
    server->workers = calloc(count, sizeof *server->workers);
    if (server->group.store == NULL || server->workers == NULL)
        return complain("start");
    server->group.retired_fd = eventfd(0, EFD_CLOEXEC);
    if (server->group.retired_fd < 0)
        return complain("eventfd");
    while (server->worker_count < count) {
        struct worker *worker = &server->workers[server->worker_count];
        if (!worker_open(worker, &server->group))
            return complain("worker");
        server->worker_count++;
        if (!run_worker(worker))
            return false;
    }
    return true;
}

/* Gives a new thread to every worker whose own has retired. */
static bool replace_threads(struct server *server)
{
    uint64_t retired;
    if (read(server->group.retired_fd, &retired, sizeof retired) < 0 && errno != EINTR)
        return complain("eventfd");
    for (size_t i = 0; i < server->worker_count; i++) {
        if (!run_worker(&server->workers[i]))
            return false;
    }
    return true;
}

static void accept_all(struct server *server)
{
    int yes = 1;
    for (;;) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                usleep(ACCEPT_PAUSE_USEC);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        worker_add(&server->workers[server->connections % server->worker_count], fd);
        server->connections++;
    }
}

/* Until a signal comes. False after an error. */
static bool serve(struct server *server)
{
    struct pollfd polled[] = {{.fd = server->signal_fd, .events = POLLIN},
                              {.fd = server->group.retired_fd, .events = POLLIN},
                              {.fd = server->listen_fd, .events = POLLIN}};
    for (;;) {
        if (poll(polled, sizeof polled / sizeof *polled, -1) < 0) {
            if (errno == EINTR)
                continue;
            return complain("poll");
        }
        if (polled[0].revents != 0)
            return true;
        if (polled[1].revents != 0 && !replace_threads(server))
            return false;
        if (polled[2].revents != 0)
            accept_all(server);
    }
}

/* Ends all threads, frees all memory and says what was served. */
static void stop(struct server *server)
{
    uint64_t served = 0;
    uint64_t threads = 0;
    /* relaxed: worker_close wakes the threads and joins them. */
    atomic_store_explicit(&server->group.stopping, true, memory_order_relaxed);
    for (size_t i = 0; i < server->worker_count; i++) {
        worker_close(&server->workers[i]);
        served += server->workers[i].served;
        threads += server->workers[i].threads_started;
    }
    free(server->workers);
    if (server->group.store != NULL)
        store_free(server->group.store);
    close(server->group.retired_fd);
    close(server->signal_fd);
    close(server->listen_fd);
    printf("weir_example_server: %llu requests, %llu connections, %llu threads\n",
           (unsigned long long)served, (unsigned long long)server->connections,
           (unsigned long long)threads);
}

int main(int argc, char **argv)
{
    unsigned long port = 0;
    unsigned long threads = 4;
    unsigned long recycle = 20000;
    const struct args_option options[] = {
        {"--port", &port, 0, UINT16_MAX, "TCP port on 127.0.0.1 (0: any free one)"},
        {"--threads", &threads, 1, WORKERS_MAX, "worker threads at a time"},
        {"--recycle", &recycle, 1, 1000000000, "requests after which a thread is replaced"},
    };
    if (!args_parse(argc, argv, options, sizeof options / sizeof *options))
        return 2;
    struct server server = {.listen_fd = -1, .signal_fd = -1};
    server.group.retired_fd = -1;
    server.group.requests_per_thread = recycle;
    bool served = catch_signals(&server) && start_workers(&server, threads) &&
                  listen_on(&server, (uint16_t)port) && serve(&server);
    stop(&server);
    return served ? 0 : 1;
}
