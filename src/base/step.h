/* Steps: a hook at each atomic operation, for stress builds alone.
 *
 * With WR_STEPS the program that links the library gives wr_step_hook, which is called before each
 * operation of atomic.h; it may delay the thread or stop it there. It must not call the library.
 * Otherwise WR_STEP is nothing, and no build that is installed has it. */
#ifndef WR_BASE_STEP_H
#define WR_BASE_STEP_H

#ifdef WR_STEPS
void wr_step_hook(void);
#define WR_STEP() wr_step_hook()
#else
#define WR_STEP() ((void)0)
#endif

#endif
