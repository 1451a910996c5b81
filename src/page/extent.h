/* Growth of the page heap: extents from the kernel, by brk as long as that works, then by mmap.
 *
 * | operation      | progress                                                            |
 * | wr_extent_grow | blocking: one thread at a time asks the kernel (WR_RANK_GROWTH)     |
 * The only place in the library that takes a lock. The kernel is called under it, since two threads
 * that grow at once would both bring memory; nobody waits for it but threads that need memory from
 * the kernel themselves. Each step is complete in itself: the child of a fork in the middle loses
 * at most an extent that nobody had touched. */
#ifndef WR_PAGE_EXTENT_H
#define WR_PAGE_EXTENT_H

#include "base/compiler.h"

/* How often the page heap has grown: read before a claim that then fails. */
size_t wr_extent_generation(void);

/* Brings at least `slices` consecutive slices into the page heap, unless it has grown since
 * `generation` was read (then the caller's claim may succeed as it is). False when the kernel
 * refuses. Keeps errno. */
bool wr_extent_grow(size_t slices, size_t generation);

/* wr_slice_claim, growing the page heap as need be. 0 when the kernel refuses, and a few looks more
 * have found no run either: one may be out for a moment, with a claim that gives it back, a purge,
 * or a summary bit that is being cleared. 0 too when the limit on committed bytes forbids it, and
 * purging dirty slices did not make room. */
uintptr_t wr_extent_claim(size_t slices, bool *zero);

/* wr_slice_claim_at, purging dirty slices where the limit forbids it. */
bool wr_extent_claim_at(uintptr_t address, size_t slices, bool *zero);

/* wr_commit_charge for a mapping, purging dirty slices where the limit forbids it. */
bool wr_extent_charge(size_t bytes);

/* Gives the free slices at the top of the data segment back to the kernel, but for `keep_bytes` of
 * them, by the lock of growth. Returns the bytes given back. Keeps errno. */
size_t wr_extent_trim(size_t keep_bytes);

/* A mapping that the kernel will not take back (unmapping can need memory itself): its page frames
 * are given back if possible, and its whole slices become part of the page heap. True if the frames
 * are gone. */
bool wr_extent_donate(uintptr_t start, size_t bytes);

/* After fork, in the child. */
void wr_extent_reset_after_fork(void);

#endif
