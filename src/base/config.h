/* Every tunable constant of weir, with unit and reason. What a user may set is in options.def.
 *
 * Knows nothing of the modules; they assert beside their code what they need of a constant. */
#ifndef WR_BASE_CONFIG_H
#define WR_BASE_CONFIG_H

#define WR_KIB ((size_t)1 << 10)
#define WR_MIB ((size_t)1 << 20)
#define WR_GIB ((size_t)1 << 30)

/* slice: unit of the page heap. 64 KiB keeps tables small and is the largest page size in use. */
#define WR_SLICE_SHIFT 16
#define WR_SLICE_BYTES ((size_t)1 << WR_SLICE_SHIFT)

/* region: window of addresses with one metadata table, found by address >> 32. */
#define WR_REGION_SHIFT  32
#define WR_REGION_BYTES  ((size_t)1 << WR_REGION_SHIFT)
#define WR_REGION_SLICES (WR_REGION_BYTES / WR_SLICE_BYTES)

/* Searches for runs of so many slices and more start at one word, those for shorter ones at a word
 * of their own; it is raised once a search has gone so many words beyond. */
#define WR_SEARCH_COUNTS ((size_t)4)
#define WR_SEARCH_WORDS  64u

/* User addresses have at most 48 bits on the machines that weir runs on. */
#define WR_ADDRESS_BITS 48
#define WR_REGIONS_MAX  ((size_t)1 << (WR_ADDRESS_BITS - WR_REGION_SHIFT))

/* Every block of 16 bytes and more is aligned to this (max_align_t). */
#define WR_ALIGNMENT_BYTES ((size_t)16)

/* Blocks that a thread takes from or returns to a slab in one step: one bitmap word. */
#define WR_BATCH_BLOCKS 64

/* Blocks of a batch that are freed past the cache in one step: the more there are, the more of them
 * share a bitmap word or a slab; 2 KiB of stack. */
#define WR_FREE_BATCH_BLOCKS 256

/* Virtual size of a thread's cache. Header and first pointer arrays fill its head, which is a page
 * where pages are smallest; the large pointer arrays behind it cost memory only once their bin is
 * hot (with pages of 16 KiB the first of them come with the head). */
#define WR_CACHE_BYTES      ((size_t)64 << 10)
#define WR_CACHE_HEAD_BYTES ((size_t)4 << 10)
/* Pointers a bin holds at first: a whole cold cache fits one page. */
#define WR_CACHE_COLD_BLOCKS 8
/* Larger blocks start with capacity 0: a thread that uses one keeps none back. */
#define WR_CACHE_COLD_BYTES 1024
/* Most bytes and most pointers that one bin of one thread holds when hot. */
#define WR_CACHE_BIN_BYTES  ((size_t)64 << 10)
#define WR_CACHE_BIN_BLOCKS 512
/* Hot bins hold at least so many blocks, whatever their size. */
#define WR_CACHE_BIN_BLOCKS_MIN 2
/* What one holds of which its thread never runs out: twice what goes back in one step. */
#define WR_CACHE_FREES_BYTES  ((size_t)16 << 10)
#define WR_CACHE_FREES_BLOCKS 128
/* Refills of a bin before its thread keeps the slab it takes from. */
#define WR_CACHE_HOT_REFILLS 4
/* One refill more for each so many threads, and from so many on no slab of blocks without a cold
 * array: a slab of its own for each class of each thread is much memory. */
#define WR_CACHE_SHARERS 4
/* With more caches than this a bin of a new one has to be used more before it holds anything back,
 * by so many slow calls: a thousand threads that use 40 classes in passing and sleep would each pin
 * a page for each class. */
#define WR_CACHE_FEW      192
#define WR_CACHE_PATIENCE 20
/* Slow calls of a cache from one look at the clock to the next. */
#define WR_CACHE_CALLS_PER_TICK 64
/* Caches that can exist; threads beyond use the bins directly. */
#define WR_CACHES_MAX 65536

/* At the hard limit a refill tries so many slabs whose free blocks are on purged pages, and then
 * gives in. */
#define WR_REFUSED_MOST 64

/* Steps by which the page heap grows: an eighth of what it has, between these. */
#define WR_GROWTH_MIN_BYTES ((size_t)1 << 20)
#define WR_GROWTH_MAX_BYTES ((size_t)64 << 20)

/* A class is sparse when free blocks are more than so much of its blocks, and more than one part in
 * so many of the heap, and so many bytes; dense again when they are less than so much. In a small
 * heap bursts that caches cannot hold leave as much free between them, and would run past the
 * caches at half the speed. */
#define WR_SPARSE_PERCENT    10
#define WR_SPARSE_HEAP_SHARE 256
#define WR_SPARSE_MIN_BYTES  ((size_t)1 << 20)
#define WR_DENSE_PERCENT     5

/* Dirty memory below this is left to decay, however small the heap: a fresh page costs 2 us. */
#define WR_DIRTY_MIN_BYTES ((size_t)64 << 20)

/* What was in use of late, by which dirty memory is capped: in one or two parts in so many of the
 * decay time. */
#define WR_DECAY_PERIODS 8

/* Steps of the curve by which dirty memory decays: what is left jumps by a tenth at most. */
#define WR_DECAY_STEPS 16

/* The purger's stack; a few frames, and what libc puts there for a thread. */
#define WR_THREAD_STACK_BYTES ((size_t)128 << 10)
/* Bytes that weir has from the kernel before a purger is worth a thread. */
#define WR_PURGER_MIN_BYTES ((size_t)2 << 20)
/* Milliseconds without a slow call after which the purger takes what a thread's cache holds. */
#define WR_IDLE_MS 1000

/* Descriptors come from chunks of this size; the first page or two serve a small program. */
#define WR_META_CHUNK_BYTES ((size_t)128 << 10)

/* mallopt(3): the mmap threshold at first, and as far as freed blocks or users may move it. */
#define WR_MMAP_THRESHOLD_BYTES     ((size_t)128 << 10)
#define WR_MMAP_THRESHOLD_MAX_BYTES ((size_t)32 << 20)

/* A huge page, the unit in which extents grow and are purged where huge pages are asked for. */
#define WR_HUGE_BYTES ((size_t)2 << 20)

/* Address space that a growing object has in reserve stays out of core dumps from this size on, and
 * comes in again by steps of it: a system call for 4,096 pages that are touched. */
#define WR_DUMP_STEP_BYTES ((size_t)16 << 20)

/* Mappings of large objects, kept ones with them, beyond which objects up to the largest mmap
 * threshold come from the page heap: the kernel allows a process 65,530 (vm.max_map_count), and
 * each that is freed can make two lines of one in /proc/self/maps. */
#define WR_MAPPINGS_MAX 512

/* Freed mappings kept for reuse: so many at most, within the byte cap of an option. */
#define WR_KEEP_SLOTS 64
/* calloc of a kept mapping from here on drops its frames instead of writing zeros: below it the
 * faults (about 0.5 us a page) cost more than the memset. */
#define WR_KEEP_DROP_BYTES ((size_t)1 << 20)

/* Check mode: bytes before and behind a block that nobody may write; the front one is larger where
 * an alignment makes it so, the rear one reaches to the block's end, and so much of each is looked
 * at. */
#define WR_CHECK_ZONE_BYTES          ((size_t)16)
#define WR_CHECK_FRONT_MOST_BYTES    ((size_t)64)
#define WR_CHECK_REAR_MOST_BYTES     ((size_t)4 << 10)
#define WR_CHECK_ALIGNMENT_MAX_BYTES ((size_t)1 << 31)
/* Freed blocks that wait; one of more than one part in so many of its bytes does not wait. */
#define WR_QUARANTINE_BLOCKS      ((size_t)1 << 16)
#define WR_CHECK_QUARANTINE_SHARE 8
/* Call stacks: the table's addresses, its buckets, frames of one, and how many frames of weir's own
 * lie above the program's call at most. */
#define WR_STACK_TABLE_BYTES ((size_t)64 << 20)
#define WR_STACK_BUCKETS     ((size_t)1 << 18)
#define WR_STACK_FRAMES_MAX  32
#define WR_STACK_OWN_FRAMES  8
/* Pages of sampled blocks. */
#define WR_GUARD_SLOTS 128
/* Stacks that the report of leaks prints. */
#define WR_LEAKS_GROUPS 20

/* A line of diagnostics, without allocation; texts of several that are written as one, and their
 * size: three stacks of 16 frames, mostly. */
#define WR_LINE_BYTES        512
#define WR_REPORT_PAGES      4
#define WR_REPORT_PAGE_BYTES ((size_t)16 << 10)

#endif
