/* Threads of the library's own: detached, named, with all signals blocked. */
#ifndef WR_RCU_THREAD_H
#define WR_RCU_THREAD_H

#include <stdbool.h>

/* Starts one; false if there can be none. Keeps errno. `name` has up to 15 characters. */
bool wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name);

#endif
