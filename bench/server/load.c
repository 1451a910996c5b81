/* weir_example_load: drives the example server with random requests and checks every reply.
 *
 * Exit status: 0 if all was right, 1 after a wrong value or a lost connection, 2 for a bad command
 * line. The last line on stdout gives operations per second. A server bears one load at a time,
 * since two would write each other's private keys.
 */
#include "args.h"
#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 1024u

/* What all clients did together. */
struct totals {
    uint64_t operations;
    uint64_t values;
    uint64_t value_bytes;
    uint64_t connections;
    uint64_t failed; /* clients */
};

static void add_up(struct totals *totals, const struct client *client)
{
    totals->operations += client->operations;
    totals->values += client->values;
    totals->value_bytes += client->value_bytes;
    totals->connections += client->connections;
    totals->failed += client->failed;
}

/* Runs the clients, which are filled in, each in a thread. A thread that cannot be started counts
 * as failed. */
static void run_clients(struct client *clients, pthread_t *threads, size_t count)
{
    size_t started = 0;
    while (started < count &&
           pthread_create(&threads[started], NULL, client_main, &clients[started]) == 0)
        started++;
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = started; i < count; i++) {
        fprintf(stderr, "weir_example_load: client %zu: no thread\n", i);
        clients[i].failed = true;
    }
}

static void print_totals(const struct totals *totals, double seconds, unsigned long seed)
{
    printf("weir_example_load: %llu operations on %llu connections in %.2f s, seed %lu\n",
           (unsigned long long)totals->operations, (unsigned long long)totals->connections, seconds,
           seed);
    printf("weir_example_load: %llu values verified (%.1f MiB), %llu clients failed\n",
           (unsigned long long)totals->values, (double)totals->value_bytes / (1 << 20),
           (unsigned long long)totals->failed);
    printf("weir_example_load: %.0f operations/s\n", (double)totals->operations / seconds);
}

int main(int argc, char **argv)
{
    unsigned long port = 0;
    unsigned long count = 16;
    unsigned long run_seconds = 5;
    unsigned long seed = 1;
    const struct args_option options[] = {
        {"--port", &port, 1, UINT16_MAX, "TCP port of the server on 127.0.0.1, required"},
        {"--clients", &count, 1, CLIENTS_MAX, "clients at a time"},
        {"--seconds", &run_seconds, 1, 86400, "seconds to run"},
        {"--seed", &seed, 0, 1000000000, "seed of the random requests"},
    };
    if (!args_parse(argc, argv, options, sizeof options / sizeof *options))
        return 2;
    if (port == 0) {
        fprintf(stderr, "weir_example_load: --port is required\n");
        return 2;
    }
    struct client *clients = calloc(count, sizeof *clients);
    pthread_t *threads = calloc(count, sizeof *threads);
    struct totals totals = {.failed = 1};
    if (clients != NULL && threads != NULL) {
        totals.failed = 0;
        uint64_t start_ns = client_now_ns();
        for (size_t i = 0; i < count; i++) {
            clients[i].number = (unsigned)i;
            clients[i].port = (uint16_t)port;
            clients[i].deadline_ns = start_ns + run_seconds * 1000000000u;
            clients[i].random = (uint64_t)seed << 32 | i;
        }
        run_clients(clients, threads, count);
        for (size_t i = 0; i < count; i++)
            add_up(&totals, &clients[i]);
        print_totals(&totals, (double)(client_now_ns() - start_ns) / 1e9, seed);
    }
    free(threads);
    free(clients);
    return totals.failed == 0 ? 0 : 1;
}
