/* One client's connection: reads requests, carries them out on the store, sends the replies.
 *
 * Must not know threads or epoll.
 * Threads: a connection is used by one thread at a time; which one may change between two calls.
 * Invariant: out_bytes is the sum of head and value bytes of all replies queued, less out_sent.
 */
#ifndef BENCH_SERVER_CONNECTION_H
#define BENCH_SERVER_CONNECTION_H

#include "store.h"
#include "wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNECTION_INPUT_BYTES 16384u

struct connection_reply;

struct connection {
    int fd;           /* non-blocking; constant */
    bool has_request; /* request and key are filled, the value is on its way */
    size_t in_begin;  /* in[in_begin .. in_end) is received and not yet consumed */
    size_t in_end;
    struct wire_request request;
    uint32_t value_filled; /* bytes of the request's value received */
    struct blob *value;    /* what is being filled; NULL without one, or without memory */
    struct connection_reply *out_first; /* queue of replies; NULL when empty */
    struct connection_reply *out_last;  /* valid when out_first is not NULL */
    size_t out_sent;                    /* bytes of out_first that have gone out */
    size_t out_bytes;                   /* bytes queued and not sent */
    struct connection *prev;            /* in the owner's list, which the owner's lock protects */
    struct connection *next;
    uint32_t waits_for; /* what the owner last asked the kernel for; the owner's */
    char key[WIRE_KEY_BYTES_MAX];
    unsigned char in[CONNECTION_INPUT_BYTES];
};

enum connection_next {
    CONNECTION_READ,  /* call again when there is something to read */
    CONNECTION_WRITE, /* when something can be written; the peer is too far behind to read */
    CONNECTION_READ_OR_WRITE, /* when either can be done */
    CONNECTION_CLOSE,         /* over: peer gone, protocol broken, or no memory for a reply */
};

/* Takes over `fd`, which must be non-blocking. NULL for want of memory; `fd` is then the caller's
 * still. */
struct connection *connection_new(int fd);

/* Closes the socket and frees everything that belongs to the connection. */
void connection_free(struct connection *connection);

/* Does all that can be done without waiting. Adds the requests carried out to `*served`. */
enum connection_next connection_serve(struct connection *connection, struct store *store,
                                      uint64_t *served);

#endif
