/* The server's table of keys and values: a fixed number of shards, each a chained hash table under
 * a mutex of its own, which grows with its entries.
 *
 * Must not know connections or the wire.
 * Threads: every function but store_new and store_free may be called from any thread at any time.
 *   A thread holds at most one shard's mutex; nothing is freed under it.
 * Invariant: the store holds one reference to each value in it.
 */
#ifndef BENCH_SERVER_STORE_H
#define BENCH_SERVER_STORE_H

#include "blob.h"

#include <stddef.h>

struct store;

struct store_key {
    const char *text; /* not terminated */
    size_t bytes;
};

enum store_result {
    STORE_OK,
    STORE_NOT_FOUND,
    STORE_TOO_LARGE,
    STORE_NO_MEMORY, /* nothing has changed */
};

/* An empty store; `value_bytes_max` bounds what store_append makes. NULL for want of memory. */
struct store *store_new(uint32_t value_bytes_max);

/* Frees the store with all in it. No other call may be under way or follow. */
void store_free(struct store *store);

/* Creates or replaces. Takes over the caller's reference to `value`, whatever the result. */
enum store_result store_set(struct store *store, struct store_key key, struct blob *value);

/* Creates, or adds the bytes of `tail` to the end. Takes over the reference to `tail` likewise. */
enum store_result store_append(struct store *store, struct store_key key, struct blob *tail);

/* A reference to the value, to be dropped by the caller; NULL if there is none. */
struct blob *store_get(struct store *store, struct store_key key);

enum store_result store_del(struct store *store, struct store_key key);

#endif
