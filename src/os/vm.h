/* The seam to the kernel's memory: everything weir maps, grows, purges and returns goes through it.
 *
 * Ranges are whole pages, starts at page boundaries. A failing call changes nothing, returns NULL
 * or false, and is no error by itself; errno is kept by every function. Threads: any, at any time;
 * wr_vm_brk_extend is called by one thread at a time. Not for the layers above page/ but for large
 * objects. Sources: mmap(2), mremap(2), madvise(2), sbrk(2). */
#ifndef WR_OS_VM_H
#define WR_OS_VM_H

#include "base/compiler.h"

/* New zero memory, readable and writable, at a multiple of alignment (a power of two, at least a
 * page). NULL when the kernel refuses. */
void *wr_vm_map(size_t bytes, size_t alignment);

/* Returns a range to the kernel. */
bool wr_vm_unmap(void *start, size_t bytes);

/* Gives the page frames back and keeps the addresses, which read as zero afterwards. False when the
 * kernel refuses (locked memory), and then the contents are what they were. */
bool wr_vm_purge(void *start, size_t bytes);

/* The same at the kernel's leisure: page frames go when memory is short, and until then count as
 * the process's; the addresses read as before or as zero (MADV_FREE). */
bool wr_vm_purge_lazily(void *start, size_t bytes);

/* Names a range in /proc/self/maps, "[anon:weir: <name>]", where the kernel can (prctl(2),
 * PR_SET_VMA_ANON_NAME); a kernel that cannot is asked once. Ranges of one name merge as before. */
void wr_vm_name(void *start, size_t bytes, const char *name);

/* Keeps a range out of core dumps, or lets it in again. False when the kernel refuses. A range that
 * is kept out is a mapping apart from its neighbours, which wr_vm_grow and wr_vm_move cannot span.
 */
bool wr_vm_set_dumped(void *start, size_t bytes, bool dumped);

/* Lets a range be touched, or makes every touch a fault (mprotect(2)). False when the kernel
 * refuses.
 */
bool wr_vm_set_accessible(void *start, size_t bytes, bool accessible);

/* Asks for transparent huge pages in a range, or asks to be spared them. */
void wr_vm_set_huge(void *start, size_t bytes, bool huge);

/* Lets a mapping of old_bytes have new_bytes (more) where it is. */
bool wr_vm_grow(void *start, size_t old_bytes, size_t new_bytes);

/* Addresses without memory at a multiple of alignment, to move a mapping to; NULL when the kernel
 * refuses. wr_vm_unreserve gives them back. */
void *wr_vm_reserve(size_t bytes, size_t alignment);
void wr_vm_unreserve(void *start, size_t bytes);

/* Moves a mapping of old_bytes by page tables to reserved addresses, where it has new_bytes (at
 * least old_bytes; all that was reserved). On failure the mapping is as it was, and the addresses
 * are no longer the caller's. */
bool wr_vm_move(void *start, size_t old_bytes, void *reserved, size_t new_bytes);

/* A run of addresses. */
typedef struct wr_vm_range {
    uintptr_t start;
    uintptr_t end; /* one past the last byte; invariant: start <= end */
} wr_vm_range;

/* Extends the data segment by at least bytes (whole slices) of zero memory from a slice boundary
 * on. An empty range when the kernel refuses; a shorter one when the program moved the break at the
 * same time. Other users of sbrk keep what they have: only new memory is returned. But libc's sbrk
 * reads and moves the break in two steps without a lock, so a program that calls it in one thread
 * while another allocates can lose memory to itself, as with any malloc on the data segment; the
 * option brk=0 is for such programs. */
wr_vm_range wr_vm_brk_extend(size_t bytes);

/* Gives the end of the data segment back, from `start` to `end` (slice boundaries); false, and
 * nothing changed, if the segment does not end there or the kernel refuses. As for other users of
 * sbrk, the same as above holds. */
bool wr_vm_brk_shrink(uintptr_t start, uintptr_t end);

/* Bytes of address space that weir has from the kernel now, and the most it ever had. */
size_t wr_vm_mapped_bytes(void);
size_t wr_vm_mapped_peak_bytes(void);

/* Bytes given back to the kernel so far: purged or unmapped, but not what was lazily purged. */
size_t wr_vm_given_back_bytes(void);

/* For the two files behind this header: count a change of the bytes mapped. */
void wr_vm_count_mapped(size_t more_bytes, size_t fewer_bytes);
void wr_vm_count_given_back(size_t bytes);

#endif
