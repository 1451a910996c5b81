/* Slices: src/page/slice.c on src/page/summary.c, step by step.
 *
 * Four slices in two words; each thread claims runs of one to three slices, of which those of three
 * and some of two cross the words, and releases them. Checked for every interleaving: no slice has
 * two holders, none is lost, a run is claimed whole or not at all, the dirty bits of claimed slices
 * are their holder's, and at rest the summary leads to every word that is not zero.
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

byte dirty[2];   /* by word */
byte holder[4];  /* ghost: who has a slice, 0 nobody */
byte finished;

/* The part of run [start, end) that lies in word w, as a mask of two bits. */
#define part(w) (((w * 2 >= start && w * 2 < end) -> 1 : 0) | \
                 ((w * 2 + 1 >= start && w * 2 + 1 < end) -> 2 : 0))

inline give(w, mask) /* make_available, one word */
{
    d_step {
        assert((leaf[w] & mask) == 0);
        leaf[w] = leaf[w] | mask
    };
    wr_summary_mark(w)
}

inline hold(w, mask, who)
{
    if
    :: mask & 1 -> assert(holder[2 * w] == (who -> 0 : me)); holder[2 * w] = who
    :: else
    fi;
    if
    :: mask & 2 -> assert(holder[2 * w + 1] == (who -> 0 : me)); holder[2 * w + 1] = who
    :: else
    fi
}

/* claimed: all bits of the mask were there and are the caller's. */
inline claim_part(w, mask)
{
    bits = leaf[w];
    do
    :: (bits & mask) != mask -> claimed = 0; break
    :: else ->
#if MUTANT == 4
        leaf[w] = bits & ~mask;
        claimed = 1;
        break
#else
        if
        :: d_step { leaf[w] == bits -> leaf[w] = bits & ~mask }
            claimed = 1;
            break
        :: d_step { leaf[w] != bits -> bits = leaf[w] }
        fi
#endif
    od;
    if
    :: claimed && (bits & ~mask) == 0 -> wr_summary_unmark(w)
    :: else
    fi;
    bits = 0
}

/* The lowest run of `length` bits that is seen as available; start == 4 if there is none. The two
 * words are looked at one after the other, and through the summary, as in the source. */
inline find_run(length)
{
    wr_summary_next(0, word);
    seen = 0;
    if
    :: word == 0 ->
        seen = leaf[0];
        wr_summary_next(1, word);
        if
        :: word == 1 -> seen = seen | (leaf[1] << 2)
        :: word == 2 -> skip
        fi
    :: word == 1 -> seen = leaf[1] << 2
    :: word == 2 -> skip
    fi;
    d_step {
        start = 0;
        do
        :: start + length > 4 -> start = 4; break
        :: start + length <= 4 && ((seen >> start) & ((1 << length) - 1)) == (1 << length) - 1 ->
            break
        :: else -> start++
        od;
        seen = 0; word = 0
    }
}

inline wr_slice_claim(length)
{
    do
    :: true ->
        find_run(length);
        if
        :: start == 4 -> break
        :: start < 4 -> skip
        fi;
        end = start + length;
        w = start / 2;
        claim_part(w, part(w));
        if
        :: claimed && end > 2 * w + 2 ->
            claim_part(w + 1, part(w + 1));
            if
            :: claimed -> break
            :: !claimed ->
#if MUTANT == 5
                skip
#else
                give(w, part(w))
#endif
            fi
        :: claimed && end <= 2 * w + 2 -> break
        :: !claimed -> skip
        fi
    od;
    if
    :: claimed -> /* take_state */
        d_step { hold(0, part(0), me); hold(1, part(1), me) };
        dirty[0] = dirty[0] & ~part(0);
        dirty[1] = dirty[1] & ~part(1)
    :: else
    fi
}

inline wr_slice_release()
{
    d_step {
        assert((dirty[0] & part(0)) == 0 && (dirty[1] & part(1)) == 0);
        dirty[0] = dirty[0] | part(0);
        dirty[1] = dirty[1] | part(1);
        hold(0, part(0), 0);
        hold(1, part(1), 0)
    };
    if
    :: part(0) -> give(0, part(0))
    :: else
    fi;
    if
    :: part(1) -> give(1, part(1))
    :: else
    fi
}

proctype thread(byte me)
{
    byte rounds = ROUNDS;
    byte start;
    byte end;
    byte w;
    byte word;
    byte bits;
    byte seen;
    bool claimed;

    do
    :: rounds > 0 ->
        rounds--;
        if
        :: wr_slice_claim(1)
        :: wr_slice_claim(2)
        :: wr_slice_claim(3)
        fi;
        if
        :: claimed -> wr_slice_release(); claimed = 0
        :: claimed -> break /* its slices stay out for ever */
        :: !claimed -> skip
        fi;
        d_step { start = 0; end = 0; w = 0 }
    :: rounds == 0 -> break
    od;
    finished++
}

init {
    byte i = 1;
    atomic {
        leaf[0] = 3; leaf[1] = 3; mid[0] = 1; mid[1] = 1; top = 3;
        do
        :: i <= THREADS -> run thread(i); i++
        :: else -> break
        od
    };
    finished == THREADS;
    i = 0;
    do
    :: i == 4 -> break
    :: else -> assert((holder[i] == 0) == ((leaf[i / 2] >> (i & 1)) & 1)); i++
    od;
    assert(leaf[0] == 0 || (mid[0] && (top & 1)));
    assert(leaf[1] == 0 || (mid[1] && (top & 2)))
}
