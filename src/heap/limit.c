/* See limit.h. */
#include "heap/limit.h"

#include "base/bits.h"
#include "base/options.h"
#include "base/report.h"
#include "heap/reclaim.h"
#include "os/cgroup.h"
#include "os/host.h"
#include "page/meta.h"

#include <errno.h>

typedef struct callback {
    wr_limit_callback *function; /* constant */
    void *argument;              /* constant */
    struct callback *before;     /* the one made before, or NULL; constant once it is found */
} callback;

_Static_assert(sizeof(callback) <= WR_CACHE_LINE_BYTES, "a descriptor is one line");

static _Atomic(callback *) made;    /* the last one made; only grows */
static _Atomic(callback *) current; /* NULL: none */

/* 0, as users write no limit, and the other way round. */
static size_t from_user(size_t limit)
{
    return limit == 0 ? WR_COMMIT_UNLIMITED : limit;
}

static size_t to_user(size_t limit)
{
    return limit == WR_COMMIT_UNLIMITED ? 0 : limit;
}

bool wr_limit_set(size_t soft, size_t hard)
{
    size_t soft_bytes = from_user(soft);
    size_t hard_bytes = from_user(hard);
    if (soft != 0 && soft_bytes > hard_bytes) {
        return false;
    }
    if (wr_commit_bytes() > wr_min(soft_bytes, hard_bytes)) {
        wr_limit_give_back();
    }
    wr_commit_set_limits(soft_bytes, hard_bytes);
    return true;
}

void wr_limit_get(size_t *soft, size_t *hard)
{
    *soft = to_user(wr_commit_soft_limit());
    *hard = to_user(wr_commit_hard_limit());
}

/* What 100% is: the cgroup's limit, or else the machine's memory. */
static size_t memory_allowed(void)
{
    size_t machine = wr_host_memory_bytes();
    size_t cgroup = wr_cgroup_memory_limit("");
    return cgroup == 0 ? machine : wr_min(cgroup, machine);
}

WR_STARTUP void wr_limit_start(void)
{
    bool percentage = wr_option_is_percentage(wr_option_limit_soft) ||
                      wr_option_is_percentage(wr_option_limit_hard);
    size_t allowed = percentage ? memory_allowed() : 0;
    size_t soft = wr_option_share(wr_option_limit_soft, allowed);
    size_t hard = wr_option_share(wr_option_limit_hard, allowed);
    if ((soft != 0 || hard != 0) && !wr_limit_set(soft, hard)) {
        wr_report_warning("WEIR_LIMIT_SOFT", "is above WEIR_LIMIT_HARD, ignored");
        (void)wr_limit_set(0, hard);
    }
}

static callback *find(wr_limit_callback *function, void *argument)
{
    /* Observes the descriptors; pairs with wr_limit_callback_set(). */
    for (callback *c = wr_load_acquire(&made); c != NULL; c = c->before) {
        if (c->function == function && c->argument == argument) {
            return c;
        }
    }
    return NULL;
}

bool wr_limit_callback_set(wr_limit_callback *function, void *argument)
{
    callback *wanted = function == NULL ? NULL : find(function, argument);
    if (function != NULL && wanted == NULL) {
        wanted = wr_meta_alloc(WR_CACHE_LINE_BYTES);
        if (wanted == NULL) {
            return false;
        }
        wanted->function = function;
        wanted->argument = argument;
        wanted->before = wr_load_relaxed(&made);
        /* Linearisation point of a descriptor's making; none is ever taken out: no ABA. Publishes
         * it; pairs with find(). */
        while (!wr_cas_weak_acq_rel(&made, &wanted->before, wanted)) {
        }
    }
    /* Publishes the descriptor; pairs with wr_limit_answer_slow(). */
    wr_store_release(&current, wanted);
    return true;
}

void wr_limit_give_back(void)
{
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
}

void wr_limit_dismiss(void)
{
    if (wr_commit_alarm_is_out() && wr_commit_alarm_take()) {
        wr_commit_alarm_finish();
    }
}

void wr_limit_answer_slow(void)
{
    if (!wr_commit_alarm_take()) {
        return; /* another thread's, or our own and we are in the callback */
    }
    int saved = errno;
    if (wr_commit_is_above_soft()) {
        wr_limit_give_back();
    }
    /* Observes the descriptor; pairs with wr_limit_callback_set(). */
    const callback *c = wr_load_acquire(&current);
    size_t committed = wr_commit_bytes();
    if (c != NULL && committed > wr_commit_soft_limit()) {
        c->function(committed, c->argument);
    }
    wr_commit_alarm_finish();
    errno = saved;
}
