/* Requests, replies and what they must be; see client.h. */
#include "client.h"

#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCHES_PER_SESSION_MIN 20u
#define BATCHES_PER_SESSION_MAX 400u
#define SIZE_OCTAVES            13u /* values from 8 B up to 64 KiB */
#define APPEND_OCTAVES          9u  /* from 8 B up to 4 KiB */
#define HUGE_ONE_IN             1000u
#define HUGE_BYTES              (1u << 20)

uint64_t client_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t random_below(struct client *client, uint32_t limit)
{
    return (uint32_t)((pattern_random(&client->random) >> 32) % limit);
}

/* 8 << octaves at most; each octave is as likely as any other. */
static uint32_t random_bytes(struct client *client, uint32_t octaves)
{
    uint32_t base = PATTERN_CHUNK_BYTES_MIN << random_below(client, octaves);
    return base + random_below(client, base + 1);
}

static uint64_t private_key(const struct client *client, uint32_t index)
{
    return (uint64_t)(client->number + 1) << 32 | index;
}

static bool fail(struct client *client, const char *what, uint64_t key)
{
    fprintf(stderr, "weir_example_load: client %u, key %llx: %s\n", client->number,
            (unsigned long long)key, what);
    client->failed = true;
    return false;
}

/* Queues a GET or DEL of a private key, and what the reply must be. */
static bool add_read(struct client *client, struct session *session, enum wire_op op,
                     uint32_t index)
{
    struct client_key *key = &client->keys[index];
    struct session_expected expected = {.op = op, .key = private_key(client, index), .exact = true};
    expected.shape = key->shape;
    expected.status = key->shape.chunks > 0 ? WIRE_OK : WIRE_NOT_FOUND;
    if (op == WIRE_DEL)
        key->shape = (struct pattern_shape){0};
    return session_add(session, &expected, 0, 0);
}

/* Queues a SET or APPEND of a private key. */
static bool add_write(struct client *client, struct session *session, enum wire_op op,
                      uint32_t index, uint32_t bytes)
{
    struct client_key *key = &client->keys[index];
    struct session_expected expected = {.op = op, .key = private_key(client, index), .exact = true};
    uint16_t version = key->next_version;
    if (op == WIRE_APPEND && bytes > WIRE_VALUE_BYTES_MAX - key->shape.bytes) {
        expected.status = WIRE_TOO_LARGE;
    } else {
        if (op == WIRE_SET || key->shape.chunks == 0)
            key->shape = (struct pattern_shape){.first_version = version};
        key->shape.bytes += bytes;
        key->shape.chunks++;
        key->next_version++;
    }
    return session_add(session, &expected, bytes, version);
}

static bool add_shared(struct client *client, struct session *session, enum wire_op op,
                       uint32_t bytes)
{
    struct session_expected expected = {.op = op, .key = random_below(client, CLIENT_SHARED_KEYS)};
    uint16_t version = (uint16_t)random_below(client, UINT16_MAX);
    return session_add(session, &expected, bytes, version);
}

/* Half of all operations read, a quarter replace; values grow as often as they vanish. */
static enum wire_op random_op(struct client *client)
{
    uint32_t eighth = random_below(client, 8);
    if (eighth < 4)
        return WIRE_GET;
    if (eighth < 6)
        return WIRE_SET;
    return eighth == 6 ? WIRE_APPEND : WIRE_DEL;
}

static bool add_random(struct client *client, struct session *session)
{
    enum wire_op op = random_op(client);
    uint32_t bytes = 0;
    if (op == WIRE_APPEND)
        bytes = random_bytes(client, APPEND_OCTAVES);
    else if (op == WIRE_SET && random_below(client, HUGE_ONE_IN) == 0)
        bytes = HUGE_BYTES;
    else if (op == WIRE_SET)
        bytes = random_bytes(client, SIZE_OCTAVES);
    if (random_below(client, 2) == 0)
        return add_shared(client, session, op, bytes);
    uint32_t index = random_below(client, CLIENT_PRIVATE_KEYS);
    return bytes > 0 ? add_write(client, session, op, index, bytes)
                     : add_read(client, session, op, index);
}

/* Sends what is queued, checks all replies. */
static bool exchange(struct client *client, struct session *session)
{
    struct session_result result;
    bool right = session_exchange(session, &result);
    client->operations += result.replies;
    client->values += result.values;
    client->value_bytes += result.value_bytes;
    return right || fail(client, result.wrong, result.key);
}

static bool run_batch(struct client *client, struct session *session)
{
    uint32_t count = 1 + random_below(client, SESSION_BATCH_MAX);
    while (count-- > 0) {
        if (!add_random(client, session))
            return fail(client, "out of memory", 0);
    }
    return exchange(client, session);
}

/* Leaves the server with replies that nobody reads and a request that never ends. */
static void hang_up(struct client *client, struct session *session)
{
    for (int i = 0; i < 4; i++)
        add_shared(client, session, WIRE_GET, 0);
    add_shared(client, session, WIRE_SET, random_bytes(client, SIZE_OCTAVES));
    session_abandon(session);
}

static bool run_session(struct client *client, struct session *session)
{
    uint32_t batches = BATCHES_PER_SESSION_MIN;
    batches += random_below(client, BATCHES_PER_SESSION_MAX - BATCHES_PER_SESSION_MIN);
    while (batches-- > 0 && client_now_ns() < client->deadline_ns) {
        if (!run_batch(client, session))
            return false;
    }
    if (random_below(client, 4) == 0)
        hang_up(client, session);
    return true;
}

/* Deletes what an earlier run may have left under the private keys. */
static bool run_reset(struct client *client, struct session *session)
{
    for (uint32_t index = 0; index < CLIENT_PRIVATE_KEYS; index++) {
        struct session_expected expected = {.op = WIRE_DEL, .key = private_key(client, index)};
        if (!session_add(session, &expected, 0, 0))
            return fail(client, "out of memory", 0);
        if (!exchange(client, session))
            return false;
    }
    return true;
}

/* Reads every private key: what was written must be there, and nothing else. */
static bool run_final_check(struct client *client, struct session *session)
{
    for (uint32_t index = 0; index < CLIENT_PRIVATE_KEYS; index++) {
        if (!add_read(client, session, WIRE_GET, index))
            return fail(client, "out of memory", 0);
        if (!exchange(client, session))
            return false;
    }
    return true;
}

/* Runs `body` over a connection of its own. */
static bool with_session(struct client *client, bool (*body)(struct client *, struct session *))
{
    struct session *session = session_open(client->port);
    if (session == NULL)
        return fail(client, strerror(errno), 0);
    client->connections++;
    bool done = body(client, session);
    session_close(session);
    return done;
}

void *client_main(void *argument)
{
    struct client *client = argument;
    bool right = with_session(client, run_reset);
    while (right && client_now_ns() < client->deadline_ns)
        right = with_session(client, run_session);
    if (right)
        with_session(client, run_final_check);
    return NULL;
}
