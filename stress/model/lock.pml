/* The growth lock: src/os/lock.c on a futex, step by step.
 *
 * Checked for every interleaving: one holder at a time, and no thread sleeps while nobody holds the
 * lock (a lost wake-up would be an invalid end state).
 */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

byte word;           /* 0 free, 1 held, 2 held and others may sleep */
bool asleep[THREADS];
byte holders;

inline futex_wait()
{
    if
    :: d_step { word == 2 -> asleep[me] = 1 }
        !asleep[me]
    :: d_step { word != 2 -> skip }
    fi
}

inline futex_wake()
{
    d_step {
        i = 0;
        do
        :: i == THREADS -> break
        :: i < THREADS && asleep[i] -> asleep[i] = 0; break
        :: else -> i++
        od;
        i = 0
    }
}

inline wr_lock_acquire()
{
    if
    :: d_step { word == 0 -> word = 1 }
    :: d_step { word != 0 -> skip }
        do
        :: true ->
#if MUTANT == 1
            d_step { seen = word; word = (word == 0 -> 1 : 2) };
#else
            d_step { seen = word; word = 2 };
#endif
            if
            :: seen == 0 -> break
            :: else -> futex_wait()
            fi
        od
    fi
}

inline wr_lock_release()
{
#if MUTANT == 2
    seen = word;
    word = 0;
#else
    d_step { seen = word; word = 0 };
#endif
    if
#if MUTANT != 3
    :: seen == 2 -> futex_wake()
#endif
    :: else
    fi
}

proctype thread(byte me)
{
    byte rounds = ROUNDS;
    byte seen;
    byte i;

    do
    :: rounds > 0 ->
        rounds--;
        wr_lock_acquire();
        holders++;
        assert(holders == 1);
        holders--;
        wr_lock_release();
        seen = 0
    :: rounds == 0 -> break
    od
}

init {
    byte i = 0;
    atomic {
        do
        :: i < THREADS -> run thread(i); i++
        :: else -> break
        od
    }
}
