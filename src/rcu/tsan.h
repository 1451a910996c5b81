/* What liburcu's own assembly hides from ThreadSanitizer, told it by its public annotations: an
 * order that is there, never one that is not. Nothing in other builds. */
#ifndef WR_RCU_TSAN_H
#define WR_RCU_TSAN_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WR_RCU_TSAN 1
#endif
#endif

#ifdef WR_RCU_TSAN
#include <sanitizer/tsan_interface.h>
#define WR_RCU_TSAN_RELEASE(address) __tsan_release((void *)(address))
#define WR_RCU_TSAN_ACQUIRE(address) __tsan_acquire((void *)(address))
#else
#define WR_RCU_TSAN_RELEASE(address) ((void)(address))
#define WR_RCU_TSAN_ACQUIRE(address) ((void)(address))
#endif

#endif
