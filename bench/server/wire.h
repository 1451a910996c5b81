/* The protocol between the example server and its load generator.
 *
 *   request   struct wire_request, key_bytes of key, value_bytes of value
 *   reply     struct wire_reply, value_bytes of value
 *
 * SET and APPEND carry a value, the reply to a successful GET brings one back; every other
 * value_bytes is 0. Requests may be pipelined: each gets one reply, in the order sent. Numbers are
 * in host byte order, since both ends run on one machine. A malformed request ends the connection.
 */
#ifndef BENCH_SERVER_WIRE_H
#define BENCH_SERVER_WIRE_H

#include <assert.h>
#include <stdint.h>

enum wire_op {
    WIRE_GET = 1,
    WIRE_SET, /* creates or replaces */
    WIRE_DEL,
    WIRE_APPEND, /* creates, or adds to the end */
};

enum wire_status {
    WIRE_OK,
    WIRE_NOT_FOUND, /* GET and DEL of a key that is not there */
    WIRE_TOO_LARGE, /* an APPEND would pass WIRE_VALUE_BYTES_MAX; the value is as before */
    WIRE_NO_MEMORY, /* the server's malloc failed; the value is as before */
};

#define WIRE_KEY_BYTES_MAX   250u
#define WIRE_VALUE_BYTES_MAX (2u << 20)

struct wire_request {
    uint32_t value_bytes; /* 0 to WIRE_VALUE_BYTES_MAX */
    uint16_t key_bytes;   /* 1 to WIRE_KEY_BYTES_MAX */
    uint8_t op;           /* enum wire_op */
    uint8_t zero;         /* must be 0 */
};

struct wire_reply {
    uint32_t value_bytes; /* 0 to WIRE_VALUE_BYTES_MAX */
    uint8_t status;       /* enum wire_status */
    uint8_t zero[3];
};

/* Both go over the wire as they lie in memory. */
static_assert(sizeof(struct wire_request) == 8, "a request head is 8 bytes");
static_assert(sizeof(struct wire_reply) == 8, "a reply head is 8 bytes");

#endif
