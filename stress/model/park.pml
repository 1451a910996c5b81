/* Parked caches: src/cache/park.c on src/page/summary.c, step by step.
 *
 * Three caches, two of them in one word; each thread adopts a cache or, when it sees none, makes do
 * without, and parks what it has. Checked for every interleaving: no cache is adopted twice, none is
 * lost, and at rest the summary leads to every word that is not zero.
 */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#include "summary.inc"

#define NOBODY 3

bool taken[3]; /* ghost: a thread has the cache */
byte finished;

/* Cache 0 and 1: bits 1 and 2 of word 0. Cache 2: bit 1 of word 1. */
#define word_of(id) (id >> 1)
#define bit_of(id)  (1 << (id & 1))

inline wr_park_push()
{
    assert(taken[own]);
#if MUTANT == 3
    wr_summary_mark(word_of(own));
#endif
    d_step {
        assert((leaf[word_of(own)] & bit_of(own)) == 0);
        taken[own] = 0;
        leaf[word_of(own)] = leaf[word_of(own)] | bit_of(own)
    };
#if MUTANT != 3
    wr_summary_mark(word_of(own));
#endif
    own = NOBODY
}

inline wr_park_adopt()
{
    word = 0;
    do
    :: true ->
        wr_summary_next(word, next);
        word = next;
        if
        :: word == 2 -> break
        :: word < 2 -> skip
        fi;
        bits = leaf[word];
        if
        :: bits == 0 -> wr_summary_unmark(word); word++
        :: bits != 0 ->
            id = 2 * word + (bits & 1 -> 0 : 1);
#if MUTANT == 4
            bits = leaf[word];
            leaf[word] = bits & ~bit_of(id);
#else
            d_step { bits = leaf[word]; leaf[word] = bits & ~bit_of(id) };
#endif
            if
            :: bits & bit_of(id) ->
                d_step { assert(!taken[id]); taken[id] = 1; own = id };
                if
                :: (bits & ~bit_of(id)) == 0 -> wr_summary_unmark(word)
                :: else
                fi;
                break
            :: else /* another thread was first: look again */
            fi
        fi
    od;
    skip;
    d_step { word = 0; next = 0; bits = 0; id = 0 }
}

proctype thread()
{
    byte rounds = ROUNDS;
    byte own = NOBODY;
    byte word;
    byte next;
    byte bits;
    byte id;

    do
    :: rounds > 0 ->
        rounds--;
        wr_park_adopt();
        if
        :: own != NOBODY -> wr_park_push()
        :: own != NOBODY -> break /* keeps it for ever */
        :: own == NOBODY -> skip
        fi
    :: rounds == 0 -> break
    od;
    finished++
}

init {
    byte i = 0;
    atomic {
        leaf[0] = 3; leaf[1] = 1; mid[0] = 1; mid[1] = 1; top = 3;
        do
        :: i < THREADS -> run thread(); i++
        :: else -> break
        od
    };
    finished == THREADS;
    assert((leaf[0] & 1) == !taken[0] && (leaf[0] >> 1) == !taken[1] && leaf[1] == !taken[2]);
    assert(leaf[0] == 0 || (mid[0] && (top & 1)));
    assert(leaf[1] == 0 || (mid[1] && (top & 2)))
}
