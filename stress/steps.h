/* What a thread does at the atomic steps of a library that was built with them (base/step.h):
 * nothing, a delay now and then, a stop at one step, or a call of something else in between.
 */
#ifndef WEIR_STRESS_STEPS_H
#define WEIR_STRESS_STEPS_H

#include <stdbool.h>
#include <stdint.h>

/* True if the library calls the hook in this build. */
bool steps_are_built(void);

/* From here on one step in `rate` of any thread yields or sleeps; 0 ends it. Set while no other
 * thread runs. */
void steps_delay(unsigned rate, uint64_t seed);

/* The calling thread stops at the n-th step (from 1) that it takes from now on, until
 * steps_release; 0: at none. */
void steps_stop_at(unsigned n);

/* True while a thread stops at a step. */
bool steps_stopped(void);

/* Lets the thread that stops go on. */
void steps_release(void);

/* The calling thread calls `between` at the n-th step (from 1) that it takes from now on; the steps
 * of `between` itself are not counted, and it may call this again. */
void steps_call_at(unsigned n, void (*between)(void));

/* No more of that; true if the last call that was asked for has come. */
bool steps_call_end(void);

#endif
