/* Parsing, carrying out, replying; see connection.h. */
#include "connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* A peer that does not read its replies is not read from any more above this many queued bytes. */
#define OUT_BYTES_HIGH  (4u << 20)
#define SEND_REPLIES    16u /* replies given to one sendmsg */
#define IOVEC_PER_REPLY 2u  /* head and value */

struct connection_reply {
    struct connection_reply *next;
    struct blob *value; /* a reference, or NULL */
    struct wire_reply head;
};

enum consumed {
    CONSUMED_ALL,    /* what is left in the buffer is no whole request */
    CONSUMED_PAUSED, /* too many replies wait to be sent */
    CONSUMED_BROKEN, /* protocol error or no memory for a reply */
};

struct connection *connection_new(int fd)
{
    struct connection *connection = malloc(sizeof *connection);
    if (connection == NULL)
        return NULL;
    memset(connection, 0, offsetof(struct connection, key));
    connection->fd = fd;
    return connection;
}

/* Removes the first reply of the queue. */
static void drop_first_reply(struct connection *connection)
{
    struct connection_reply *reply = connection->out_first;
    connection->out_first = reply->next;
    connection->out_sent = 0;
    blob_drop(reply->value);
    free(reply);
}

void connection_free(struct connection *connection)
{
    while (connection->out_first != NULL)
        drop_first_reply(connection);
    blob_drop(connection->value);
    close(connection->fd);
    free(connection);
}

/* Queues a reply. Takes over the reference to `value`, which may be NULL. */
static bool push_reply(struct connection *connection, enum wire_status status, struct blob *value)
{
    struct connection_reply *reply = malloc(sizeof *reply);
    if (reply == NULL) {
        blob_drop(value);
        return false;
    }
    reply->next = NULL;
    reply->value = value;
    reply->head = (struct wire_reply){.value_bytes = value != NULL ? value->bytes : 0,
                                      .status = (uint8_t)status};
    if (connection->out_first == NULL)
        connection->out_first = reply;
    else
        connection->out_last->next = reply;
    connection->out_last = reply;
    connection->out_bytes += sizeof reply->head + reply->head.value_bytes;
    return true;
}

static enum wire_status status_of(enum store_result result)
{
    switch (result) {
    case STORE_OK:
        return WIRE_OK;
    case STORE_NOT_FOUND:
        return WIRE_NOT_FOUND;
    case STORE_TOO_LARGE:
        return WIRE_TOO_LARGE;
    case STORE_NO_MEMORY:
        break;
    }
    return WIRE_NO_MEMORY;
}

/* Carries out the request, whose value is complete, and queues its reply. */
static bool execute(struct connection *connection, struct store *store)
{
    struct store_key key = {connection->key, connection->request.key_bytes};
    struct blob *value = connection->value;
    connection->value = NULL;
    connection->has_request = false;
    switch (connection->request.op) {
    case WIRE_GET:
        value = store_get(store, key);
        return push_reply(connection, value != NULL ? WIRE_OK : WIRE_NOT_FOUND, value);
    case WIRE_DEL:
        return push_reply(connection, status_of(store_del(store, key)), NULL);
    default:
        break;
    }
    enum wire_status status = WIRE_NO_MEMORY;
    if (value != NULL && connection->request.op == WIRE_SET)
        status = status_of(store_set(store, key, value));
    else if (value != NULL)
        status = status_of(store_append(store, key, value));
    return push_reply(connection, status, NULL);
}

static bool request_is_valid(const struct wire_request *request)
{
    if (request->op < WIRE_GET || request->op > WIRE_APPEND || request->zero != 0)
        return false;
    if (request->key_bytes == 0 || request->key_bytes > WIRE_KEY_BYTES_MAX)
        return false;
    if (request->op == WIRE_GET || request->op == WIRE_DEL)
        return request->value_bytes == 0;
    return request->value_bytes <= WIRE_VALUE_BYTES_MAX;
}

/* Takes head and key of the next request out of the buffer, once both are there. */
static enum consumed begin_request(struct connection *connection)
{
    struct wire_request *request = &connection->request;
    size_t bytes = connection->in_end - connection->in_begin;
    if (bytes < sizeof *request)
        return CONSUMED_ALL;
    const unsigned char *in = connection->in + connection->in_begin;
    memcpy(request, in, sizeof *request);
    if (!request_is_valid(request))
        return CONSUMED_BROKEN;
    if (bytes < sizeof *request + request->key_bytes)
        return CONSUMED_ALL;
    memcpy(connection->key, in + sizeof *request, request->key_bytes);
    connection->in_begin += sizeof *request + request->key_bytes;
    connection->has_request = true;
    connection->value_filled = 0;
    if (request->op == WIRE_SET || request->op == WIRE_APPEND)
        connection->value = blob_new(request->value_bytes);
    return CONSUMED_ALL;
}

/* Moves what the buffer holds of the request's value to where it belongs. Without memory for it the
 * value is thrown away. True when it is complete. */
static bool take_value(struct connection *connection)
{
    size_t bytes = connection->in_end - connection->in_begin;
    size_t missing = connection->request.value_bytes - connection->value_filled;
    if (bytes > missing)
        bytes = missing;
    if (connection->value != NULL && bytes > 0)
        memcpy(connection->value->data + connection->value_filled,
               connection->in + connection->in_begin, bytes);
    connection->in_begin += bytes;
    connection->value_filled += (uint32_t)bytes;
    return bytes == missing;
}

/* Carries out every request that is complete. */
static enum consumed consume(struct connection *connection, struct store *store, uint64_t *served)
{
    for (;;) {
        if (connection->out_bytes > OUT_BYTES_HIGH)
            return CONSUMED_PAUSED;
        if (!connection->has_request) {
            enum consumed begun = begin_request(connection);
            if (!connection->has_request)
                return begun;
        }
        if (!take_value(connection))
            return CONSUMED_ALL;
        if (!execute(connection, store))
            return CONSUMED_BROKEN;
        ++*served;
    }
}

/* Fills `iov` with what is to be sent of the first replies; returns the number of entries. */
static size_t gather(const struct connection *connection, struct iovec *iov)
{
    size_t count = 0;
    size_t skip = connection->out_sent;
    struct connection_reply *reply = connection->out_first;
    for (size_t i = 0; i < SEND_REPLIES && reply != NULL; i++, reply = reply->next) {
        size_t head_bytes = sizeof reply->head;
        if (skip < head_bytes)
            iov[count++] = (struct iovec){(unsigned char *)&reply->head + skip, head_bytes - skip};
        skip = skip > head_bytes ? skip - head_bytes : 0;
        if (reply->head.value_bytes > skip)
            iov[count++] =
                (struct iovec){reply->value->data + skip, reply->head.value_bytes - skip};
        skip = 0;
    }
    return count;
}

/* Drops the replies that `bytes` more sent bytes have completed. */
static void advance(struct connection *connection, size_t bytes)
{
    connection->out_bytes -= bytes;
    connection->out_sent += bytes;
    while (connection->out_first != NULL) {
        const struct wire_reply *head = &connection->out_first->head;
        size_t whole_bytes = sizeof *head + head->value_bytes;
        if (connection->out_sent < whole_bytes)
            return;
        size_t beyond = connection->out_sent - whole_bytes;
        drop_first_reply(connection);
        connection->out_sent = beyond;
    }
}

/* Sends until nothing is queued or the socket is full. False if the connection is gone. */
static bool flush(struct connection *connection)
{
    while (connection->out_first != NULL) {
        struct iovec iov[SEND_REPLIES * IOVEC_PER_REPLY];
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = gather(connection, iov)};
        ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (sent >= 0)
            advance(connection, (size_t)sent);
        else if (errno != EINTR)
            return errno == EAGAIN;
    }
    return true;
}

/* Receives into the value that is being filled, once the buffer is empty; else into the buffer.
 * Returns what recv(2) does. */
static ssize_t fill(struct connection *connection)
{
    size_t left = connection->in_end - connection->in_begin;
    if (left == 0 && connection->value != NULL) {
        struct blob *value = connection->value;
        ssize_t got = recv(connection->fd, value->data + connection->value_filled,
                           value->bytes - connection->value_filled, 0);
        if (got > 0)
            connection->value_filled += (uint32_t)got;
        return got;
    }
    /* What is left is less than a head and a key, so there is room. */
    memmove(connection->in, connection->in + connection->in_begin, left);
    connection->in_begin = 0;
    connection->in_end = left;
    ssize_t got = recv(connection->fd, connection->in + left, CONNECTION_INPUT_BYTES - left, 0);
    if (got > 0)
        connection->in_end += (size_t)got;
    return got;
}

enum connection_next connection_serve(struct connection *connection, struct store *store,
                                      uint64_t *served)
{
    for (;;) {
        enum consumed consumed = consume(connection, store, served);
        if (consumed == CONSUMED_BROKEN || !flush(connection))
            return CONNECTION_CLOSE;
        if (connection->out_bytes > OUT_BYTES_HIGH)
            return CONNECTION_WRITE;
        if (consumed == CONSUMED_PAUSED)
            continue;
        ssize_t got = fill(connection);
        if (got > 0 || (got < 0 && errno == EINTR))
            continue;
        if (got == 0 || errno != EAGAIN)
            return CONNECTION_CLOSE;
        return connection->out_first != NULL ? CONNECTION_READ_OR_WRITE : CONNECTION_READ;
    }
}
