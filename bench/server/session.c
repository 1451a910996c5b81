/* Sockets, buffers and checks of the load generator; see session.h. */
#include "session.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES      (sizeof(struct wire_reply) + WIRE_VALUE_BYTES_MAX)
#define KEY_PAD_MAX   24u   /* keys differ in length by up to this many bytes */
#define REPLY_WAIT_MS 30000 /* a server that says nothing for so long has failed */

struct session {
    int fd;             /* -1 if there is none */
    unsigned char *out; /* requests; out[out_sent .. out_bytes) is still to be sent */
    size_t out_capacity;
    size_t out_bytes;
    size_t out_sent;
    size_t in_bytes; /* received and not yet checked */
    size_t expected_count;
    size_t expected_done; /* replies checked of expected_count */
    struct session_expected expected[SESSION_BATCH_MAX];
    unsigned char in[IN_BYTES]; /* room for the largest reply */
};

struct session *session_open(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct session *session = malloc(sizeof *session);
    if (session == NULL)
        return NULL;
    memset(session, 0, offsetof(struct session, expected));
    int yes = 1;
    session->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (session->fd < 0 || connect(session->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        session_close(session);
        errno = error;
        return NULL;
    }
    setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return session;
}

void session_close(struct session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    free(session->out);
    free(session);
}

/* Room for `bytes` more at the end of `out`, or NULL. */
static unsigned char *reserve(struct session *session, size_t bytes)
{
    size_t needed = session->out_bytes + bytes;
    if (needed > session->out_capacity) {
        size_t capacity = needed + needed / 2;
        unsigned char *grown = realloc(session->out, capacity);
        if (grown == NULL)
            return NULL;
        session->out = grown;
        session->out_capacity = capacity;
    }
    unsigned char *room = session->out + session->out_bytes;
    session->out_bytes = needed;
    return room;
}

bool session_add(struct session *session, const struct session_expected *expected, uint32_t bytes,
                 uint16_t version)
{
    char key[WIRE_KEY_BYTES_MAX + 1];
    int pad = (int)(expected->key % KEY_PAD_MAX);
    int key_bytes =
        snprintf(key, sizeof key, "key:%llx:%*s", (unsigned long long)expected->key, pad, "");
    struct wire_request head = {
        .value_bytes = bytes, .key_bytes = (uint16_t)key_bytes, .op = (uint8_t)expected->op};
    unsigned char *out = reserve(session, sizeof head + head.key_bytes + bytes);
    if (out == NULL)
        return false;
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, key, head.key_bytes);
    if (bytes > 0)
        pattern_write(out + sizeof head + head.key_bytes, bytes, expected->key, version);
    session->expected[session->expected_count++] = *expected;
    return true;
}

/* Whether the status can be, where no exact one is known. */
static bool status_is_possible(enum wire_op op, uint8_t status)
{
    switch (op) {
    case WIRE_GET:
    case WIRE_DEL:
        return status == WIRE_OK || status == WIRE_NOT_FOUND;
    case WIRE_APPEND:
        return status == WIRE_OK || status == WIRE_TOO_LARGE;
    case WIRE_SET:
        break;
    }
    return status == WIRE_OK;
}

/* NULL, or what is wrong with a reply. */
static const char *check_reply(const struct session_expected *expected,
                               const struct wire_reply *head, const unsigned char *value)
{
    if (expected->exact ? head->status != expected->status
                        : !status_is_possible(expected->op, head->status))
        return head->status == WIRE_NO_MEMORY ? "the server is out of memory" : "wrong status";
    if (expected->op != WIRE_GET || head->status != WIRE_OK)
        return head->value_bytes == 0 ? NULL : "a value that was not asked for";
    struct pattern_shape shape;
    const char *wrong =
        pattern_check(value, head->value_bytes, expected->key, expected->exact, &shape);
    if (wrong != NULL || !expected->exact)
        return wrong;
    if (shape.bytes != expected->shape.bytes || shape.chunks != expected->shape.chunks ||
        shape.first_version != expected->shape.first_version)
        return "not the value that was stored last";
    return NULL;
}

/* Checks the replies that have come in whole. Returns NULL, or what is wrong. */
static const char *check_input(struct session *session, struct session_result *result)
{
    size_t at = 0;
    const char *wrong = NULL;
    while (wrong == NULL && session->expected_done < session->expected_count) {
        const struct session_expected *expected = &session->expected[session->expected_done];
        struct wire_reply head;
        if (session->in_bytes - at < sizeof head)
            break;
        memcpy(&head, session->in + at, sizeof head);
        result->key = expected->key;
        if (head.value_bytes > WIRE_VALUE_BYTES_MAX)
            return "a reply has an impossible length";
        if (session->in_bytes - at - sizeof head < head.value_bytes)
            break;
        wrong = check_reply(expected, &head, session->in + at + sizeof head);
        at += sizeof head + head.value_bytes;
        session->expected_done++;
        result->replies++;
        result->values += head.value_bytes > 0;
        result->value_bytes += head.value_bytes;
    }
    session->in_bytes -= at;
    memmove(session->in, session->in + at, session->in_bytes);
    return wrong;
}

/* Whether a call on the socket has to be tried again later. */
static bool is_temporary(int error)
{
    return error == EAGAIN || error == EINTR;
}

static const char *send_some(struct session *session)
{
    ssize_t sent = send(session->fd, session->out + session->out_sent,
                        session->out_bytes - session->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return is_temporary(errno) ? NULL : strerror(errno);
    session->out_sent += (size_t)sent;
    return NULL;
}

static const char *receive_some(struct session *session)
{
    ssize_t got = recv(session->fd, session->in + session->in_bytes, IN_BYTES - session->in_bytes,
                       MSG_DONTWAIT);
    if (got == 0)
        return "the server has closed the connection";
    if (got < 0)
        return is_temporary(errno) ? NULL : strerror(errno);
    session->in_bytes += (size_t)got;
    return NULL;
}

static const char *exchange_some(struct session *session, struct session_result *result)
{
    struct pollfd polled = {.fd = session->fd, .events = POLLIN};
    if (session->out_sent < session->out_bytes)
        polled.events |= POLLOUT;
    int ready = poll(&polled, 1, REPLY_WAIT_MS);
    if (ready == 0)
        return "the server does not answer";
    if (ready < 0)
        return errno == EINTR ? NULL : strerror(errno);
    const char *wrong = NULL;
    if ((polled.revents & POLLOUT) != 0)
        wrong = send_some(session);
    if (wrong == NULL && (polled.revents & ~POLLOUT) != 0) {
        wrong = receive_some(session);
        if (wrong == NULL)
            wrong = check_input(session, result);
    }
    return wrong;
}

bool session_exchange(struct session *session, struct session_result *result)
{
    *result = (struct session_result){0};
    while (result->wrong == NULL && session->expected_done < session->expected_count)
        result->wrong = exchange_some(session, result);
    session->expected_count = 0;
    session->expected_done = 0;
    session->out_bytes = 0;
    session->out_sent = 0;
    if (result->wrong == NULL && session->in_bytes > 0)
        result->wrong = "a reply to nothing";
    return result->wrong == NULL;
}

void session_abandon(struct session *session)
{
    if (session->out_bytes > 0)
        session->out_bytes--;
    /* Whether any of it arrives is the server's problem: it has to cope with each case. */
    (void)send_some(session);
}
