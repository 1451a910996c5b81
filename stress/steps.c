/* See steps.h. */
#include "steps.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#ifdef WR_STEPS

void wr_step_hook(void);

static unsigned delay_rate;
static uint64_t delay_seed;

static _Thread_local uint64_t delay_state;
static _Thread_local unsigned stop_at;
static _Thread_local unsigned call_at;
static _Thread_local void (*call)(void);

static _Atomic bool stopped;
static _Atomic bool released;

static void pause_ns(long ns)
{
    struct timespec pause = {0, ns};
    nanosleep(&pause, NULL);
}

static uint64_t next(void)
{
    if (delay_state == 0) {
        delay_state = delay_seed ^ (uint64_t)(uintptr_t)&delay_state;
    }
    delay_state = delay_state * 6364136223846793005u + 1442695040888963407u;
    return delay_state >> 33;
}

/* Three yields to a sleep: the one lets neighbours in, the other lets the world go by. */
static void delay(void)
{
    uint64_t number = next();
    if (number % delay_rate != 0) {
        return;
    }
    if (number / delay_rate % 4 != 0) {
        sched_yield();
    } else {
        pause_ns((long)(number / delay_rate % 50) * 1000);
    }
}

void wr_step_hook(void)
{
    if (delay_rate != 0) {
        delay();
    }
    if (stop_at != 0 && --stop_at == 0) {
        atomic_store(&stopped, true);
        while (!atomic_load(&released)) {
            pause_ns(20000);
        }
        atomic_store(&stopped, false);
    }
    if (call_at != 0 && --call_at == 0) {
        call();
    }
}

bool steps_are_built(void)
{
    return true;
}

void steps_delay(unsigned rate, uint64_t seed)
{
    delay_rate = rate;
    delay_seed = seed;
}

void steps_stop_at(unsigned n)
{
    atomic_store(&released, false);
    stop_at = n;
}

bool steps_stopped(void)
{
    return atomic_load(&stopped);
}

void steps_release(void)
{
    atomic_store(&released, true);
}

void steps_call_at(unsigned n, void (*between)(void))
{
    call = between;
    call_at = n;
}

bool steps_call_end(void)
{
    bool came = call_at == 0;
    call_at = 0;
    return came;
}

#else

bool steps_are_built(void)
{
    return false;
}

void steps_delay(unsigned rate, uint64_t seed)
{
    (void)rate;
    (void)seed;
}

#endif
