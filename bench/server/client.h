/* One client of the load generator: a thread that sends random requests in batches, over one
 * connection after the other, and checks each reply.
 *
 * Two kinds of keys. A private key has this client as its only writer, so the client knows what
 * each reply must be, to the byte. A shared key is written by all; its values must be right in
 * themselves.
 * Threads: a client is its own thread's until that is joined.
 */
#ifndef BENCH_SERVER_CLIENT_H
#define BENCH_SERVER_CLIENT_H

#include "pattern.h"

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_PRIVATE_KEYS 256u
#define CLIENT_SHARED_KEYS  4096u

struct client_key {
    struct pattern_shape shape; /* what the server holds; chunks is 0 when it holds nothing */
    uint16_t next_version;      /* of the next chunk written */
};

struct client {
    unsigned number;      /* from 0; constant */
    uint16_t port;        /* constant */
    uint64_t deadline_ns; /* on CLOCK_MONOTONIC; constant */
    uint64_t random;      /* state of the generator; a seed at first */
    uint64_t operations;  /* replies received and checked */
    uint64_t values;      /* values checked among them */
    uint64_t value_bytes; /* bytes of these */
    uint64_t connections; /* opened */
    bool failed;          /* has met a wrong reply or lost its connection; said so on stderr */
    struct client_key keys[CLIENT_PRIVATE_KEYS];
};

/* Nanoseconds on CLOCK_MONOTONIC. */
uint64_t client_now_ns(void);

/* A thread's main function, for a struct client. Returns NULL. Stops at the deadline, after reading
 * every private key once more, or at the first failure. */
void *client_main(void *client);

#endif
