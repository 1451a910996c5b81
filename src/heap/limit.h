/* Limits on the committed bytes (page/commit): where they come from, and what is done when the soft
 * one is crossed: free memory goes back to the kernel, then the program's callback is called.
 *
 * | operation    | progress                                                                   |
 * | answer       | one look in nearly all calls; else lock-free, apart from the callback's time |
 * | callback_set | lock-free                                                                  |
 * A callback is a descriptor of function and argument that never changes and is never freed, found
 * by one word: a reader has a pair that was set, whatever it reads. No lock is held, and the
 * answering thread is at the end of its call. This file knows nothing of how memory is charged. */
#ifndef WR_HEAP_LIMIT_H
#define WR_HEAP_LIMIT_H

#include "page/commit.h"

/* Sets what the options say; once, when they have been read. */
void wr_limit_start(void);

/* Bytes, 0 for none. False, and nothing changed, if soft is above hard. */
bool wr_limit_set(size_t soft, size_t hard);
void wr_limit_get(size_t *soft, size_t *hard);

typedef void wr_limit_callback(size_t committed, void *argument);

/* NULL for none; false, and nothing changed, when the kernel refuses memory. */
bool wr_limit_callback_set(wr_limit_callback *function, void *argument);

/* Gives all free memory that can be reached back to the kernel. */
void wr_limit_give_back(void);

/* For the thread whose charge crossed the soft limit; keeps errno. */
WR_COLD void wr_limit_answer_slow(void);

/* For weir's own thread, whose purges may charge for a moment: the alarm is over without an answer,
 * since the program's callback is not to run there. */
void wr_limit_dismiss(void);

/* At the end of every call that may have charged, also of one that only purges (what it claims may
 * have been purged by another thread since): an alarm that its thread leaves unanswered is the last
 * one. */
WR_INLINE void wr_limit_answer(void)
{
    if (WR_UNLIKELY(wr_commit_alarm_is_out())) {
        wr_limit_answer_slow();
    }
}

#endif
