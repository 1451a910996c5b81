/* A value: bytes with a count of references, shared by the store and by replies under way.
 *
 * Threads: share and drop may be called by any holder of a reference at any time. The bytes may be
 *   written only by the one holder of the only reference.
 * Whoever drops the last reference frees the block, mostly another thread than the one that
 * allocated it.
 */
#ifndef BENCH_SERVER_BLOB_H
#define BENCH_SERVER_BLOB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct blob {
    atomic_uint refs;     /* references, at least 1 */
    uint32_t bytes;       /* of data; written only by the only holder */
    unsigned char data[]; /* written only by the only holder */
};

/* A value of `bytes` bytes, contents indeterminate, with one reference; NULL for want of memory. */
struct blob *blob_new(uint32_t bytes);

/* One more reference, to a value of which the caller holds one. Returns `blob`. */
struct blob *blob_share(struct blob *blob);

/* One reference less. NULL is allowed. */
void blob_drop(struct blob *blob);

/* Whether the caller holds the only reference. It stays so for as long as the caller lets nobody
 * else share it. */
bool blob_is_unshared(struct blob *blob);

/* The value with `bytes` more at its end, for the only holder. Returns its new address, or NULL for
 * want of memory, and then `blob` is as before. */
struct blob *blob_grow(struct blob *blob, const unsigned char *data, uint32_t bytes);

#endif
