/* WR_ASSERT: what must hold, checked in debug builds only. A failure is weir's own fault or memory
 * that was overwritten, never a misuse that users are told of by wr_report_misuse. */
#ifndef WR_BASE_ASSERT_H
#define WR_BASE_ASSERT_H

#include "base/compiler.h"

#ifndef WR_DEBUG
#define WR_DEBUG 0
#endif

/* Prints one line and aborts. */
WR_COLD WR_NORETURN void wr_assert_fail(const char *condition, const char *file, int line);

#if WR_DEBUG
#define WR_ASSERT(condition)                                                                       \
    (WR_LIKELY(condition) ? (void)0 : wr_assert_fail(#condition, __FILE__, __LINE__))
#else
#define WR_ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
