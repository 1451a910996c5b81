/* Reference-counted values; see blob.h. */
#include "blob.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct blob *blob_new(uint32_t bytes)
{
    struct blob *blob = malloc(offsetof(struct blob, data) + bytes);
    if (blob == NULL)
        return NULL;
    atomic_init(&blob->refs, 1);
    blob->bytes = bytes;
    return blob;
}

struct blob *blob_share(struct blob *blob)
{
    /* relaxed: the caller's own reference keeps the value alive and ordered. */
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

void blob_drop(struct blob *blob)
{
    if (blob == NULL)
        return;
    /* release: our reads of the value come before its end; acquire: in the last holder, everyone's
     * reads do. Pairs with itself and with blob_is_unshared. */
    if (atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
        free(blob);
}

bool blob_is_unshared(struct blob *blob)
{
    /* acquire: what former holders read, they read before we write. Pairs with blob_drop. */
    return atomic_load_explicit(&blob->refs, memory_order_acquire) == 1;
}

struct blob *blob_grow(struct blob *blob, const unsigned char *data, uint32_t bytes)
{
    size_t old_bytes = blob->bytes;
    struct blob *grown = realloc(blob, offsetof(struct blob, data) + old_bytes + bytes);
    if (grown == NULL)
        return NULL;
    memcpy(grown->data + old_bytes, data, bytes);
    grown->bytes += bytes;
    return grown;
}
