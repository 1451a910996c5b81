/* See meta.h. */
#include "page/meta.h"

#include "base/assert.h"
#include "base/atomic.h"
#include "base/config.h"
#include "os/vm.h"

/* Heads the chunk that it describes. */
typedef struct chunk {
    WR_CACHE_ALIGNED _Atomic size_t used_bytes; /* from the chunk's start; only grows */
} chunk;

static _Atomic(chunk *) current;

/* Replaces a full chunk (or none) by a new one; false when the kernel refuses. */
static bool bring_chunk(chunk *full)
{
    chunk *made = wr_vm_map(WR_META_CHUNK_BYTES, WR_SLICE_BYTES);
    if (made == NULL) {
        return false;
    }
    wr_vm_name(made, WR_META_CHUNK_BYTES, "weir: tables");
    wr_store_relaxed(&made->used_bytes, sizeof(chunk));
    /* Linearisation point. Publishes used_bytes; pairs with wr_meta_alloc(). A chunk becomes
     * current once: no ABA. */
    if (!wr_cas_strong_acq_rel(&current, &full, made)) {
        (void)wr_vm_unmap(made, WR_META_CHUNK_BYTES);
    }
    return true;
}

/* Cuts a piece off; NULL, and nothing changed, when the chunk has too little left. */
static void *cut(chunk *c, size_t bytes)
{
    /* Relaxed: the piece is ours by arithmetic; it is zero as the kernel gave it. */
    size_t at = wr_load_relaxed(&c->used_bytes);
    while (at <= WR_META_CHUNK_BYTES - bytes) {
        /* Linearisation point. used_bytes only grows: no ABA. A current chunk stays mapped for
         * ever. */
        if (wr_cas_weak_relaxed(&c->used_bytes, &at, at + bytes)) {
            return (char *)c + at;
        }
    }
    return NULL;
}

void *wr_meta_alloc(size_t bytes)
{
    WR_ASSERT(bytes % WR_CACHE_LINE_BYTES == 0 && bytes <= 4 * WR_KIB);
    for (;;) {
        /* Observes used_bytes of the chunk; pairs with bring_chunk(). */
        chunk *c = wr_load_acquire(&current);
        void *piece = c == NULL ? NULL : cut(c, bytes);
        if (piece != NULL || !bring_chunk(c)) {
            return piece;
        }
    }
}
