/* The same table on RCU: liburcu's lock-free hash table, whose readers take no lock; see store.h.
 *
 * An entry with its key and value is one block that never changes once it is in the table: a write
 * replaces it, and weir_free_rcu frees the old one when its readers are gone. A reader copies the
 * value within its read-side section.
 * Flavour bp: threads need no registration. Under ThreadSanitizer, which does not see liburcu's own
 * barriers, the orders that these give are announced.
 */
#define URCU_API_MAP
#include <urcu/urcu-bp.h>

#include <urcu/rculfhash.h>

#include <weir/rcu.h>

#include "store.h"

#include <stdio.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define ANNOUNCE_BEFORE(address) __tsan_release((void *)(address))
#define ANNOUNCE_AFTER(address)  __tsan_acquire((void *)(address))
#endif
#endif
#ifndef ANNOUNCE_BEFORE
#define ANNOUNCE_BEFORE(address) ((void)(address))
#define ANNOUNCE_AFTER(address)  ((void)(address))
#endif

#define BUCKETS_MIN 1024u /* a power of two; the table grows by itself */

struct entry {
    struct cds_lfht_node node; /* the table's */
    uint64_t hash;             /* constant, as is all below */
    size_t key_bytes;
    uint32_t value_bytes;
    unsigned char bytes[]; /* the key, then the value */
};

struct store {
    uint32_t value_bytes_max; /* constant */
    struct cds_lfht *table;   /* constant */
};

/* FNV-1a with a final mix: the table goes by the low bits. */
static uint64_t hash_key(struct store_key key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.bytes; i++)
        hash = (hash ^ (unsigned char)key.text[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15u;
}

static struct entry *entry_of(struct cds_lfht_node *node)
{
    return node == NULL ? NULL : caa_container_of(node, struct entry, node);
}

static int matches(struct cds_lfht_node *node, const void *wanted)
{
    struct entry *entry = entry_of(node);
    const struct store_key *key = wanted;
    ANNOUNCE_AFTER(entry); /* was published by a compare-and-swap of the table's */
    return entry->key_bytes == key->bytes && memcmp(entry->bytes, key->text, key->bytes) == 0;
}

static const unsigned char *value_of(const struct entry *entry)
{
    return entry->bytes + entry->key_bytes;
}

/* Of the key, with the bytes of `head`'s value, if there is one, and of `tail` for its value. */
static struct entry *entry_new(struct store_key key, uint64_t hash, const struct entry *head,
                               const struct blob *tail)
{
    uint32_t head_bytes = head == NULL ? 0 : head->value_bytes;
    struct entry *entry = weir_malloc(sizeof *entry + key.bytes + head_bytes + tail->bytes);
    if (entry == NULL)
        return NULL;
    cds_lfht_node_init(&entry->node);
    entry->hash = hash;
    entry->key_bytes = key.bytes;
    entry->value_bytes = head_bytes + tail->bytes;
    memcpy(entry->bytes, key.text, key.bytes);
    if (head != NULL)
        memcpy(entry->bytes + key.bytes, value_of(head), head_bytes);
    memcpy(entry->bytes + key.bytes + head_bytes, tail->data, tail->bytes);
    return entry;
}

static void section_begin(void)
{
    rcu_read_lock();
}

static void section_end(void)
{
    ANNOUNCE_BEFORE(&rcu_flavor); /* the library observes it after each grace period */
    rcu_read_unlock();
}

struct store *store_new(uint32_t value_bytes_max)
{
    struct store *store = weir_malloc(sizeof *store);
    if (store == NULL)
        return NULL;
    store->value_bytes_max = value_bytes_max;
    store->table =
        cds_lfht_new(BUCKETS_MIN, BUCKETS_MIN, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, NULL);
    if (store->table == NULL) {
        weir_free(store);
        return NULL;
    }
    return store;
}

void store_free(struct store *store)
{
    struct cds_lfht_iter iter;
    struct entry *entry;
    section_begin();
    cds_lfht_for_each_entry(store->table, &iter, entry, node)
    {
        if (cds_lfht_del(store->table, &entry->node) == 0)
            weir_free_rcu(entry);
    }
    section_end();
    (void)weir_rcu_barrier();
    (void)cds_lfht_destroy(store->table, NULL);
    weir_free(store);
    weir_rcu_stats stats;
    (void)weir_rcu_stats_get(&stats, sizeof stats);
    printf("deferred: %zu values freed after %zu grace periods, at most %zu bytes waited\n",
           stats.freed_objects, stats.grace_periods, stats.peak_bytes);
}

enum store_result store_set(struct store *store, struct store_key key, struct blob *value)
{
    uint64_t hash = hash_key(key);
    struct entry *fresh = entry_new(key, hash, NULL, value);
    blob_drop(value);
    if (fresh == NULL)
        return STORE_NO_MEMORY;
    section_begin();
    ANNOUNCE_BEFORE(fresh); /* the table publishes it */
    struct entry *old =
        entry_of(cds_lfht_add_replace(store->table, hash, matches, &key, &fresh->node));
    section_end();
    if (old != NULL)
        weir_free_rcu(old);
    return STORE_OK;
}

/* One try, in a section; *again says that another writer was first. */
static enum store_result append_once(struct store *store, struct store_key key,
                                     const struct blob *tail, bool *again)
{
    uint64_t hash = hash_key(key);
    struct cds_lfht_iter iter;
    cds_lfht_lookup(store->table, hash, matches, &key, &iter);
    struct entry *old = entry_of(cds_lfht_iter_get_node(&iter));
    *again = false;
    if (old != NULL && (tail->bytes > store->value_bytes_max ||
                        old->value_bytes > store->value_bytes_max - tail->bytes))
        return STORE_TOO_LARGE;
    struct entry *fresh = entry_new(key, hash, old, tail);
    if (fresh == NULL)
        return STORE_NO_MEMORY;
    ANNOUNCE_BEFORE(fresh); /* the table publishes it */
    if (old == NULL) {
        *again =
            cds_lfht_add_unique(store->table, hash, matches, &key, &fresh->node) != &fresh->node;
    } else {
        *again = cds_lfht_replace(store->table, &iter, hash, matches, &key, &fresh->node) != 0;
        if (!*again)
            weir_free_rcu(old);
    }
    if (*again)
        weir_free(fresh); /* nobody has seen it */
    return STORE_OK;
}

enum store_result store_append(struct store *store, struct store_key key, struct blob *tail)
{
    enum store_result result;
    bool again;
    do {
        section_begin();
        result = append_once(store, key, tail, &again);
        section_end();
    } while (again);
    blob_drop(tail);
    return result;
}

struct blob *store_get(struct store *store, struct store_key key)
{
    struct cds_lfht_iter iter;
    struct blob *value = NULL;
    section_begin();
    cds_lfht_lookup(store->table, hash_key(key), matches, &key, &iter);
    struct entry *entry = entry_of(cds_lfht_iter_get_node(&iter));
    if (entry != NULL)
        value = blob_new(entry->value_bytes);
    if (value != NULL)
        memcpy(value->data, value_of(entry), entry->value_bytes);
    section_end();
    return value;
}

enum store_result store_del(struct store *store, struct store_key key)
{
    struct cds_lfht_iter iter;
    section_begin();
    cds_lfht_lookup(store->table, hash_key(key), matches, &key, &iter);
    struct entry *entry = entry_of(cds_lfht_iter_get_node(&iter));
    bool deleted = entry != NULL && cds_lfht_del(store->table, &entry->node) == 0;
    section_end();
    if (deleted)
        weir_free_rcu(entry);
    return deleted ? STORE_OK : STORE_NOT_FOUND;
}
