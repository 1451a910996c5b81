/* See commit.h. Everything here is relaxed: the count and the limits are numbers that publish no
 * memory, and the alarm is a matter of one thread and its own mark. Of a charge and a refund that
 * meet, one may overlook the other's step on the alarm; the next of either makes up for it. */
#include "page/commit.h"

#include "base/assert.h"
#include "os/host.h"

_Atomic uintptr_t wr_commit_alarm;

static _Atomic size_t committed;
static _Atomic size_t soft_limit = WR_COMMIT_UNLIMITED;
static _Atomic size_t hard_limit = WR_COMMIT_UNLIMITED;

bool wr_commit_charge(size_t bytes)
{
    if (bytes == 0) {
        return true;
    }
    size_t now = wr_load_relaxed(&committed);
    do {
        size_t hard = wr_load_relaxed(&hard_limit);
        if (bytes > hard || now > hard - bytes) {
            return false;
        }
        /* Linearisation point. A sum: no ABA. */
    } while (!wr_cas_weak_relaxed(&committed, &now, now + bytes));
    if (WR_UNLIKELY(now + bytes > wr_load_relaxed(&soft_limit))) {
        uintptr_t armed = WR_ALARM_ARMED;
        (void)wr_cas_strong_relaxed(&wr_commit_alarm, &armed, wr_host_thread_mark());
    }
    return true;
}

void wr_commit_recharge(size_t bytes)
{
    (void)wr_fetch_add_relaxed(&committed, bytes);
}

/* The count has fallen to the limit: what was rung is armed again. */
static void rearm(void)
{
    uintptr_t seen = wr_load_relaxed(&wr_commit_alarm);
    uintptr_t next;
    do {
        if ((seen & WR_ALARM_RUNNING) == 0) {
            return; /* armed, or raised: who answers it looks at the count */
        }
        next = seen == WR_ALARM_RUNG ? WR_ALARM_ARMED : seen | WR_ALARM_FELL;
        /* States of the present alarm only: one that came back means the same, no ABA. */
    } while (next != seen && !wr_cas_weak_relaxed(&wr_commit_alarm, &seen, next));
}

void wr_commit_refund(size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    size_t before = wr_fetch_sub_relaxed(&committed, bytes);
    WR_ASSERT(before >= bytes);
    if (WR_UNLIKELY(wr_load_relaxed(&wr_commit_alarm) != WR_ALARM_ARMED) &&
        before - bytes <= wr_load_relaxed(&soft_limit)) {
        rearm();
    }
}

bool wr_commit_has_room(size_t bytes)
{
    size_t hard = wr_load_relaxed(&hard_limit);
    return bytes <= hard && wr_load_relaxed(&committed) <= hard - bytes;
}

size_t wr_commit_bytes(void)
{
    return wr_load_relaxed(&committed);
}

bool wr_commit_is_above_soft(void)
{
    return wr_load_relaxed(&committed) > wr_load_relaxed(&soft_limit);
}

void wr_commit_set_limits(size_t soft, size_t hard)
{
    wr_store_relaxed(&soft_limit, soft);
    wr_store_relaxed(&hard_limit, hard);
    if (!wr_commit_is_above_soft()) {
        rearm();
        return;
    }
    /* A limit set below the count is crossed from below only once the count has fallen. */
    uintptr_t armed = WR_ALARM_ARMED;
    (void)wr_cas_strong_relaxed(&wr_commit_alarm, &armed, WR_ALARM_RUNG);
}

size_t wr_commit_soft_limit(void)
{
    return wr_load_relaxed(&soft_limit);
}

size_t wr_commit_hard_limit(void)
{
    return wr_load_relaxed(&hard_limit);
}

bool wr_commit_alarm_take(void)
{
    uintptr_t mark = wr_host_thread_mark();
    uintptr_t seen = mark;
    return wr_cas_strong_relaxed(&wr_commit_alarm, &seen, mark | WR_ALARM_RUNNING);
}

void wr_commit_alarm_finish(void)
{
    uintptr_t seen = wr_load_relaxed(&wr_commit_alarm);
    uintptr_t next;
    do {
        WR_ASSERT((seen & WR_ALARM_RUNNING) != 0 && seen != WR_ALARM_RUNG);
        bool rings_on = (seen & WR_ALARM_FELL) == 0 && wr_commit_is_above_soft();
        next = rings_on ? WR_ALARM_RUNG : WR_ALARM_ARMED;
        /* Only a FELL can come between. */
    } while (!wr_cas_weak_relaxed(&wr_commit_alarm, &seen, next));
}

void wr_commit_recover(size_t bytes)
{
    wr_store_relaxed(&committed, bytes);
    /* The thread that forked may be in an answer of its own: then it finishes it. */
    uintptr_t alarm = wr_load_relaxed(&wr_commit_alarm);
    uintptr_t mark = alarm & ~(WR_ALARM_RUNNING | WR_ALARM_FELL);
    if (mark != wr_host_thread_mark()) {
        wr_store_relaxed(&wr_commit_alarm, wr_commit_is_above_soft() && alarm == WR_ALARM_RUNG
                                               ? WR_ALARM_RUNG
                                               : WR_ALARM_ARMED);
    }
}
