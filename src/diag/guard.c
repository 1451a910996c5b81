/* See guard.h. */
#include "diag/guard.h"

#include "base/options.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "diag/finding.h"
#include "diag/table.h"
#include "diag/zone.h"
#include "os/host.h"
#include "os/vm.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

_Atomic size_t wr_guard_rate;

enum slot_state {
    SLOT_NEVER,
    SLOT_LIVE,
    SLOT_MOVING, /* who frees or takes it is at it */
    SLOT_FREED,
};

/* Fields belong to who made the last transition; others read them for reports. */
typedef struct slot {
    _Atomic uint32_t state;
    _Atomic uint32_t class_bytes;
    _Atomic uintptr_t address; /* of the block */
    _Atomic size_t size;       /* that was asked for */
    _Atomic uint32_t allocated;
    _Atomic uint32_t freed;
} slot;

static _Atomic(void *) slot_table; /* WR_GUARD_SLOTS slots */
static uintptr_t pool;             /* constant once sampling is on */
static size_t page_bytes;          /* likewise */
static struct sigaction former;    /* likewise */

static _Atomic uint64_t stands;  /* calls so far; relaxed: a count */
static _Atomic uint64_t next_at; /* when the next one is due; relaxed: a hint */
static _Atomic uint32_t turn;    /* relaxed: any order of slots will do */

/* ---- the pool ---- */

static size_t pool_bytes(void)
{
    return (2 * WR_GUARD_SLOTS + 1) * page_bytes;
}

static bool is_in_pool(uintptr_t address)
{
    return pool != 0 && address - pool < pool_bytes();
}

bool wr_guard_owns(const void *ptr)
{
    return is_in_pool((uintptr_t)ptr);
}

static slot *slot_at(unsigned n)
{
    return (slot *)wr_table_find(&slot_table) + n;
}

static uintptr_t page_of(unsigned n)
{
    return pool + (2 * n + 1) * page_bytes;
}

/* The slot whose page an address lies in, or, on a guard page, is nearer. */
static unsigned slot_of(uintptr_t address)
{
    size_t half = (address - pool) / (page_bytes / 2);
    /* Halves: 0 and 1 are the first guard page, then four to a slot, of which it is near to the
     * first two's end and the last two's begin. */
    size_t n = half < 1 ? 0 : (half - 1) / 4;
    return (unsigned)wr_min(n, WR_GUARD_SLOTS - 1);
}

/* What lies beside the block in its page. */
static void paint(const slot *s, uintptr_t page)
{
    uintptr_t start = wr_load_relaxed(&s->address);
    wr_zone_paint(page, start);
    wr_zone_paint(start + wr_load_relaxed(&s->class_bytes), page + page_bytes);
}

/* ---- reports ---- */

static void end(wr_line *line, const slot *s, wr_stack called)
{
    bool was_freed = wr_load_relaxed(&s->state) != SLOT_LIVE;
    wr_finding_end(line, called, wr_load_relaxed(&s->allocated),
                   was_freed ? wr_load_relaxed(&s->freed) : WR_STACK_NONE);
}

static void report(const wr_check_call *call, const char *what, uintptr_t address, const slot *s)
{
    wr_line line;
    wr_finding_begin(&line, call->function, true, what, address);
    wr_finding_add_block(&line, wr_load_relaxed(&s->size));
    if (address != wr_load_relaxed(&s->address)) {
        wr_finding_add_offset(&line, wr_load_relaxed(&s->address), address);
    }
    end(&line, s, wr_stack_keep(call->caller));
}

static void look(const wr_check_call *call, const slot *s, uintptr_t page)
{
    uintptr_t start = wr_load_relaxed(&s->address);
    uintptr_t rear = start + wr_load_relaxed(&s->class_bytes);
    wr_damage under = wr_zone_look(page, start);
    wr_damage over = wr_zone_look(rear, page + page_bytes);
    const wr_damage *found = under.bytes != 0 ? &under : &over;
    if (found->bytes != 0) {
        wr_line line;
        wr_finding_begin(&line, call->function, true, under.bytes != 0 ? "underrun" : "overrun",
                         start);
        wr_finding_add_block(&line, wr_load_relaxed(&s->size));
        wr_line_text(&line, ", written");
        wr_finding_add_offset(&line, wr_load_relaxed(&s->address), found->first);
        end(&line, s, wr_stack_keep(call->caller));
    }
}

/* ---- allocate and free ---- */

/* Between 1 and twice the rate. */
static uint64_t distance(void)
{
    return 1 + wr_host_random() % (2 * wr_load_relaxed(&wr_guard_rate));
}

static bool is_due(unsigned weight)
{
    uint64_t now = wr_fetch_add_relaxed(&stands, weight) + weight;
    uint64_t at = wr_load_relaxed(&next_at);
    return now >= at && wr_cas_strong_relaxed(&next_at, &at, now + distance());
}

static bool change(slot *s, enum slot_state from, enum slot_state to)
{
    uint32_t expected = from;
    /* Observes the fields; pairs with settle(). */
    return wr_cas_strong_acq_rel(&s->state, &expected, (uint32_t)to);
}

static void settle(slot *s, enum slot_state state)
{
    /* Publishes the fields; pairs with change(). */
    wr_store_release(&s->state, (uint32_t)state);
}

static bool open_slot(unsigned n, unsigned class, size_t size, const wr_check_call *call)
{
    slot *s = slot_at(n);
    uintptr_t page = page_of(n);
    if ((!change(s, SLOT_FREED, SLOT_MOVING) && !change(s, SLOT_NEVER, SLOT_MOVING)) ||
        !wr_vm_set_accessible((void *)page, page_bytes, true)) {
        return false; /* in use, or lost to a kernel that refuses */
    }
    size_t bytes = wr_size_classes[class].block_bytes;
    bool at_end = n % 2 == 0;
    wr_store_relaxed(&s->address, at_end ? page + page_bytes - bytes : page);
    wr_store_relaxed(&s->class_bytes, (uint32_t)bytes);
    wr_store_relaxed(&s->size, size);
    wr_store_relaxed(&s->allocated, wr_stack_keep(call->caller));
    wr_store_relaxed(&s->freed, WR_STACK_NONE);
    paint(s, page);
    settle(s, SLOT_LIVE);
    return true;
}

void *wr_guard_sample(unsigned class, size_t size, unsigned weight, const wr_check_call *call)
{
    if (wr_size_classes[class].block_bytes > page_bytes || !is_due(weight)) {
        return NULL;
    }
    unsigned n = wr_fetch_add_relaxed(&turn, 1) % WR_GUARD_SLOTS;
    return open_slot(n, class, size, call) ? (void *)wr_load_relaxed(&slot_at(n)->address) : NULL;
}

/* The slot of a live block that starts at ptr; anything else is reported. */
static slot *find(const void *ptr, const wr_check_call *call)
{
    uintptr_t address = (uintptr_t)ptr;
    slot *s = slot_at(slot_of(address));
    if (wr_load_relaxed(&s->address) != address) {
        report(call, "not a block start", address, s);
        return NULL;
    }
    if (wr_load_relaxed(&s->state) != SLOT_LIVE) {
        report(call, "double free", address, s);
        return NULL;
    }
    return s;
}

void wr_guard_free(void *ptr, const wr_check_call *call)
{
    slot *s = find(ptr, call);
    if (s == NULL) {
        return;
    }
    unsigned n = slot_of((uintptr_t)ptr);
    if (!change(s, SLOT_LIVE, SLOT_MOVING)) {
        report(call, "double free", (uintptr_t)ptr, s);
        return;
    }
    wr_store_relaxed(&s->freed, wr_stack_keep(call->caller));
    look(call, s, page_of(n));
    (void)wr_vm_set_accessible((void *)page_of(n), page_bytes, false);
    (void)wr_vm_purge((void *)page_of(n), page_bytes);
    settle(s, SLOT_FREED);
}

size_t wr_guard_usable_size(const void *ptr, const wr_check_call *call)
{
    const slot *s = find(ptr, call);
    return s == NULL ? 0 : wr_load_relaxed(&s->class_bytes);
}

/* A sized free brought it into a cache, and from there it comes. */
static bool take_back(void *block, const char *function)
{
    if (!is_in_pool((uintptr_t)block)) {
        return false;
    }
    wr_check_call call = {.function = function,
                          .caller = __builtin_return_address(0),
                          .size = WR_CHECK_ANY,
                          .alignment = WR_CHECK_ANY};
    wr_guard_free(block, &call);
    return true;
}

/* ---- faults ---- */

/* " read" or " write" where the machine says which. */
static const char *kind_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    enum { WRITE = 2 }; /* of the page fault's error code */
    return (context->uc_mcontext.gregs[REG_ERR] & WRITE) != 0 ? ", written" : ", read";
#else
    (void)context;
    return ", touched";
#endif
}

static const void *place_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (const void *)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (const void *)context->uc_mcontext.pc;
#else
    (void)context;
    return NULL;
#endif
}

static void report_fault(uintptr_t address, const ucontext_t *context)
{
    const slot *s = slot_at(slot_of(address));
    bool was_freed = wr_load_relaxed(&s->state) != SLOT_LIVE;
    bool is_below = address < wr_load_relaxed(&s->address);
    wr_line line;
    wr_finding_begin(&line, "SIGSEGV", false,
                     was_freed  ? "use after free"
                     : is_below ? "underrun"
                                : "overrun",
                     wr_load_relaxed(&s->address));
    wr_finding_add_block(&line, wr_load_relaxed(&s->size));
    wr_line_text(&line, kind_of(context));
    wr_finding_add_offset(&line, wr_load_relaxed(&s->address), address);
    wr_finding_print(&line, wr_stack_keep(place_of(context)), wr_load_relaxed(&s->allocated),
                     was_freed ? wr_load_relaxed(&s->freed) : WR_STACK_NONE);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    if (is_in_pool((uintptr_t)info->si_addr)) {
        report_fault((uintptr_t)info->si_addr, context);
    }
    errno = saved;
    if ((former.sa_flags & SA_SIGINFO) != 0) {
        former.sa_sigaction(signal, info, context);
    } else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
        former.sa_handler(signal);
    } else {
        (void)sigaction(SIGSEGV, &former,
                        NULL); /* the access is made again, and ends the process */
    }
}

/* ---- start ---- */

WR_STARTUP void wr_guard_start(void)
{
    size_t rate = wr_option_get(wr_option_guard_sample);
    if (rate == 0) {
        return;
    }
    page_bytes = wr_host_page_bytes();
    uintptr_t place = (uintptr_t)wr_vm_reserve(pool_bytes(), page_bytes);
    if (place == 0 ||
        wr_table_obtain(&slot_table, wr_align_up(WR_GUARD_SLOTS * sizeof(slot), WR_SLICE_BYTES),
                        "guard") == NULL) {
        return;
    }
    pool = place;
    struct sigaction mine = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&mine.sa_mask);
    (void)sigaction(SIGSEGV, &mine, &former);
    wr_return_set_outsider(take_back);
    wr_store_relaxed(&wr_guard_rate, rate);
}
