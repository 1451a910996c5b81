/* The sharded table; see store.h. */
#include "store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS            64u /* so that a few dozen threads seldom meet in one */
#define SHARD_BUCKETS_MIN 16u /* a power of two, as every later count */
#define CACHE_LINE_BYTES  64u

struct entry {
    struct entry *next; /* in the bucket; under the shard's lock, as are all fields */
    struct blob *value;
    uint64_t hash;
    size_t key_bytes;
    char key[];
};

struct shard {
    pthread_mutex_t lock;   /* protects all below, and the entries */
    struct entry **buckets; /* bucket_count of them */
    size_t bucket_count;    /* a power of two */
    size_t entry_count;
};

struct store {
    uint32_t value_bytes_max; /* constant */
    struct {
        _Alignas(CACHE_LINE_BYTES) struct shard shard; /* no two locks share a line */
    } slots[SHARDS];
};

/* FNV-1a with a final mix, since the low bits pick the shard and the high ones the bucket. */
static uint64_t hash_key(struct store_key key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.bytes; i++)
        hash = (hash ^ (unsigned char)key.text[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15u;
}

static struct shard *shard_lock(struct store *store, uint64_t hash)
{
    struct shard *shard = &store->slots[hash % SHARDS].shard;
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static struct entry **bucket_of(struct shard *shard, uint64_t hash)
{
    return &shard->buckets[(hash >> 32) & (shard->bucket_count - 1)];
}

/* The link that points at the key's entry, or the null link at the end of its bucket. */
static struct entry **find_locked(struct shard *shard, uint64_t hash, struct store_key key)
{
    struct entry **link = bucket_of(shard, hash);
    for (; *link != NULL; link = &(*link)->next) {
        struct entry *entry = *link;
        if (entry->hash == hash && entry->key_bytes == key.bytes &&
            memcmp(entry->key, key.text, key.bytes) == 0)
            break;
    }
    return link;
}

/* Doubles the buckets once there are two entries to each. Without the memory chains grow longer. */
static void grow_if_crowded_locked(struct shard *shard)
{
    if (shard->entry_count < 2 * shard->bucket_count)
        return;
    size_t old_count = shard->bucket_count;
    struct entry **old = shard->buckets;
    struct entry **grown = calloc(2 * old_count, sizeof *grown);
    if (grown == NULL)
        return;
    shard->buckets = grown;
    shard->bucket_count = 2 * old_count;
    for (size_t i = 0; i < old_count; i++) {
        struct entry *next;
        for (struct entry *entry = old[i]; entry != NULL; entry = next) {
            struct entry **bucket = bucket_of(shard, entry->hash);
            next = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    free(old);
}

static enum store_result insert_locked(struct shard *shard, uint64_t hash, struct store_key key,
                                       struct blob *value)
{
    struct entry *entry = malloc(sizeof *entry + key.bytes);
    if (entry == NULL)
        return STORE_NO_MEMORY;
    entry->value = value;
    entry->hash = hash;
    entry->key_bytes = key.bytes;
    memcpy(entry->key, key.text, key.bytes);
    grow_if_crowded_locked(shard);
    struct entry **bucket = bucket_of(shard, hash);
    entry->next = *bucket;
    *bucket = entry;
    shard->entry_count++;
    return STORE_OK;
}

struct store *store_new(uint32_t value_bytes_max)
{
    struct store *store = aligned_alloc(CACHE_LINE_BYTES, sizeof *store);
    if (store == NULL)
        return NULL;
    memset(store, 0, sizeof *store);
    store->value_bytes_max = value_bytes_max;
    bool complete = true;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->slots[i].shard;
        pthread_mutex_init(&shard->lock, NULL);
        shard->buckets = calloc(SHARD_BUCKETS_MIN, sizeof(struct entry *));
        if (shard->buckets == NULL)
            complete = false;
        else
            shard->bucket_count = SHARD_BUCKETS_MIN;
    }
    if (complete)
        return store;
    store_free(store);
    return NULL;
}

void store_free(struct store *store)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->slots[i].shard;
        for (size_t bucket = 0; bucket < shard->bucket_count; bucket++) {
            struct entry *next;
            for (struct entry *entry = shard->buckets[bucket]; entry != NULL; entry = next) {
                next = entry->next;
                blob_drop(entry->value);
                free(entry);
            }
        }
        free(shard->buckets);
        pthread_mutex_destroy(&shard->lock);
    }
    free(store);
}

enum store_result store_set(struct store *store, struct store_key key, struct blob *value)
{
    uint64_t hash = hash_key(key);
    struct shard *shard = shard_lock(store, hash);
    struct entry *entry = *find_locked(shard, hash, key);
    enum store_result result = STORE_OK;
    struct blob *unused = NULL;
    if (entry != NULL) {
        unused = entry->value;
        entry->value = value;
    } else {
        result = insert_locked(shard, hash, key, value);
        if (result != STORE_OK)
            unused = value;
    }
    pthread_mutex_unlock(&shard->lock);
    blob_drop(unused);
    return result;
}

/* The entry's value with the tail behind it. A value that replies still read is copied, and the
 * store's reference to the old one goes to `*unused`. */
static enum store_result append_locked(struct entry *entry, const struct blob *tail,
                                       struct blob **unused)
{
    struct blob *value = entry->value;
    /* A new reference can only be got from the store, under the lock that is held here. */
    if (blob_is_unshared(value)) {
        struct blob *grown = blob_grow(value, tail->data, tail->bytes);
        if (grown == NULL)
            return STORE_NO_MEMORY;
        entry->value = grown;
        return STORE_OK;
    }
    struct blob *copy = blob_new(value->bytes + tail->bytes);
    if (copy == NULL)
        return STORE_NO_MEMORY;
    memcpy(copy->data, value->data, value->bytes);
    memcpy(copy->data + value->bytes, tail->data, tail->bytes);
    entry->value = copy;
    *unused = value;
    return STORE_OK;
}

enum store_result store_append(struct store *store, struct store_key key, struct blob *tail)
{
    uint64_t hash = hash_key(key);
    struct shard *shard = shard_lock(store, hash);
    struct entry *entry = *find_locked(shard, hash, key);
    enum store_result result;
    struct blob *unused = NULL;
    bool tail_kept = false;
    if (entry == NULL) {
        result = insert_locked(shard, hash, key, tail);
        tail_kept = result == STORE_OK;
    } else if (tail->bytes > store->value_bytes_max ||
               entry->value->bytes > store->value_bytes_max - tail->bytes) {
        result = STORE_TOO_LARGE;
    } else {
        result = append_locked(entry, tail, &unused);
    }
    pthread_mutex_unlock(&shard->lock);
    blob_drop(unused);
    if (!tail_kept)
        blob_drop(tail);
    return result;
}

struct blob *store_get(struct store *store, struct store_key key)
{
    uint64_t hash = hash_key(key);
    struct shard *shard = shard_lock(store, hash);
    struct entry *entry = *find_locked(shard, hash, key);
    struct blob *value = entry != NULL ? blob_share(entry->value) : NULL;
    pthread_mutex_unlock(&shard->lock);
    return value;
}

enum store_result store_del(struct store *store, struct store_key key)
{
    uint64_t hash = hash_key(key);
    struct shard *shard = shard_lock(store, hash);
    struct entry **link = find_locked(shard, hash, key);
    struct entry *entry = *link;
    if (entry != NULL) {
        *link = entry->next;
        shard->entry_count--;
    }
    pthread_mutex_unlock(&shard->lock);
    if (entry == NULL)
        return STORE_NOT_FOUND;
    blob_drop(entry->value);
    free(entry);
    return STORE_OK;
}
