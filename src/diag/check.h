/* Check mode: every call of the family comes here, and finds misuse where it happens.
 *
 * A checked block:   | front zone, 16 bytes or the alignment | size bytes asked for | rear zone |
 * in a block of the heap; the record of it lies in the shadow (shadow.h). Zones hold a pattern that
 * is looked at when the block is freed, when it leaves the quarantine, by wr_check_all and at exit.
 * A freed block is filled and waits in the quarantine; a write to it is found when it leaves.
 * Threads stay without a cache and slabs show no class (page/span.h), so each call takes the slow
 * path; with the mode off nothing of this is looked at by the fast path.
 * Blocks of before the mode was on are what they were, and are freed as such.
 *
 * What is found is one line on standard error and the stacks, abort(3), both or neither, as the
 * option check says (MALLOC_CHECK_, mallopt(3)); if the process goes on, a wrong call has done
 * nothing. Threads, forks: any; lock-free but for wr_check_all, for which a free of the block that
 * it looks at waits. Sources: mallopt(3), M_CHECK_ACTION; Serebryany et al., USENIX ATC 2012. */
#ifndef WR_DIAG_CHECK_H
#define WR_DIAG_CHECK_H

#include "base/atomic.h"
#include "base/compiler.h"

/* Whose functions may free a block. */
typedef enum wr_check_family {
    WR_CHECK_MALLOC,
    WR_CHECK_NEW,
    WR_CHECK_NEW_ARRAY,
} wr_check_family;

/* What a call says of a block. */
typedef struct wr_check_call {
    const char *function;   /* for the report: "free" */
    const void *caller;     /* return address of the program's call */
    wr_check_family family; /* that the function belongs to */
    size_t size;            /* that it says, or WR_CHECK_ANY */
    size_t alignment;       /* that it says, 0: that of plain functions, or WR_CHECK_ANY */
    bool is_question;       /* it frees nothing */
} wr_check_call;

#define WR_CHECK_ANY SIZE_MAX

extern _Atomic bool wr_check_on;

/* True once the mode is on, which it stays. */
WR_INLINE bool wr_check_is_on(void)
{
    return WR_UNLIKELY(wr_load_relaxed(&wr_check_on)); /* a mode; publishes nothing */
}

/* Turns the mode on if options ask for it (check, leaks, and harden for zero, canary and delay,
 * then with no more of it than they need), or under memcheck, which then has the blocks' bytes;
 * while the process starts. */
void wr_check_start(void);

/* A block of size bytes at a multiple of call->alignment (0 as 1), call->family's; NULL when the
 * kernel refuses. `zero`: it reads as zero (alignment 0). */
void *wr_check_alloc(size_t size, bool zero, const wr_check_call *call);

/* Frees ptr, not NULL. False for a block of before, nothing done. */
bool wr_check_free(void *ptr, const wr_check_call *call);

/* A block of size bytes (above 0) with what ptr, not NULL, holds; ptr is freed. Always another one.
 * A wrong ptr: as if it had been NULL. False for what the dynamic linker allocated, nothing done.
 */
bool wr_check_resize(void *ptr, size_t size, const wr_check_call *call, void **resized);

/* Makes ptr, not NULL, have size bytes where it is; *done if it could. False as above. */
bool wr_check_resize_in_place(void *ptr, size_t size, const wr_check_call *call, bool *done);

/* Bytes that were asked for at ptr, not NULL; 0 for a wrong ptr. False for a block of before. */
bool wr_check_usable_size(const void *ptr, const wr_check_call *call, size_t *size);

/* Looks at the zones of all blocks, and at all of the quarantine, which it empties; how many blocks
 * are damaged. `subject` is named in reports. */
size_t wr_check_all(const char *subject);

/* After fork, in the child: a block that a dead thread was looking at can be freed again. */
void wr_check_recover(void);

/* Sets what a finding does: bit 0 a report, bit 1 abort, bit 2 a report without stacks. */
void wr_check_set_action(unsigned action);

/* Calls visit with each record of a live block; others may come and go meanwhile. */
struct wr_record;
typedef void wr_check_visit(uintptr_t address, struct wr_record *record, void *context);
void wr_check_each(wr_check_visit *visit, void *context);

#endif
