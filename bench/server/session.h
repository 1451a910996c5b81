/* A connection of the load generator: queues requests, sends them, checks the replies against what
 * is expected. Must not know who expects it and why.
 *
 * Threads: a session is its client's.
 * Sending and receiving go on together, so that neither end waits for the other to read.
 */
#ifndef BENCH_SERVER_SESSION_H
#define BENCH_SERVER_SESSION_H

#include "pattern.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSION_BATCH_MAX 16u

struct session;

struct session_expected {
    enum wire_op op;
    uint64_t key;
    bool exact;                 /* status and shape are known; else any that can be is right */
    enum wire_status status;    /* if exact */
    struct pattern_shape shape; /* of the value that a GET brings, if exact */
};

struct session_result {
    uint64_t replies;     /* checked */
    uint64_t values;      /* checked, of these replies */
    uint64_t value_bytes; /* of these values */
    const char *wrong;    /* what went wrong; NULL if nothing */
    uint64_t key;         /* and with which key */
};

/* Connects to 127.0.0.1. NULL, with errno, on failure. */
struct session *session_open(uint16_t port);

void session_close(struct session *session);

/* Queues a request, at most SESSION_BATCH_MAX before the next exchange; SET and APPEND carry one
 * chunk of `bytes` bytes and `version`. False for want of memory. */
bool session_add(struct session *session, const struct session_expected *expected, uint32_t bytes,
                 uint16_t version);

/* Sends the queue and checks one reply to each request. False at the first thing wrong. */
bool session_exchange(struct session *session, struct session_result *result);

/* Sends as much of the queue, less the last byte, as goes without waiting, and forgets the rest.
 * Only session_close may follow. */
void session_abandon(struct session *session);

#endif
