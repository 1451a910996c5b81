/* The life of one slice as slabs of two classes: src/bin/slab.c and src/bin/bin.c, step by step.
 *
 * Each atomic operation of the source is one step here, under the name of its function; plain reads
 * and writes that another thread could meet are steps of their own. Checked for every interleaving:
 * no block is in two hands, none is lost; a slab is retired only with all blocks in and all adds
 * done; the index holds a slab only while it is LISTED; at rest a slab with free blocks is found by
 * its bin's index, and an empty one is its bin's spare or retired; nobody waits for ever.
 * Orders are sequentially consistent here; what the weaker ones in the source rest on stands there.
 * MUTANT selects a wrong step (run.sh lists what each breaks).
 */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1 /* refills of each thread */
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define BLOCKS 2
#define FULL   3 /* both bits */
#define OWNED  1
#define LISTED 2
#define NONE   0

/* The state word: one variable each, changed together in one step. */
byte flags = OWNED; /* a retired slab stays OWNED */
short count = BLOCKS;

byte free_bits = FULL;
byte bin_of;          /* slab->bin: 0 or 1 */
bool is_spare;
bool in_use;          /* the span is open */
bool available = 1;   /* the slice is in the page heap */
bool index_bit[2];    /* by bin */
bool spares[2];       /* by bin */
byte holder[BLOCKS];  /* who holds a block: 0 nobody, else a thread's number + 1 */
byte adding;          /* ghost: threads between put and the end of add */
byte finished;

inline count_blocks(mask, n)
{
    n = (mask & 1) + (mask >> 1)
}

inline hand_out(mask)
{
    if
    :: mask & 1 -> assert(holder[0] == 0); holder[0] = me
    :: else
    fi;
    if
    :: mask & 2 -> assert(holder[1] == 0); holder[1] = me
    :: else
    fi
}

inline take_back(mask)
{
    if
    :: mask & 1 -> assert(holder[0] == me); holder[0] = 0
    :: else
    fi;
    if
    :: mask & 2 -> assert(holder[1] == me); holder[1] = 0
    :: else
    fi
}

/* The owner; want is set to the bits taken, 0 if none is free. */
inline wr_slab_take(most)
{
    want = free_bits;
    if
    :: want == FULL && most == 1 -> want = 1
    :: else
    fi;
    if
    :: want != 0 ->
        d_step {
            assert(in_use && flags == OWNED);
            assert((free_bits & want) == want);
            free_bits = free_bits & ~want;
            hand_out(want);
            mine = mine | want
        };
        count_blocks(want, n);
        d_step { count = count - n; n = 0 }
    :: else
    fi
}

/* Index bit and look, for a slab that the caller set LISTED. */
inline set_index_bit(bin)
{
    d_step {
        assert(in_use && !index_bit[bin]);
        assert(flags == LISTED && bin_of == bin);
        index_bit[bin] = 1
    }
}

/* won: the caller cleared the bit, so the slab is its own. */
inline wr_bin_unlist_try(bin)
{
#if MUTANT == 1
    won = index_bit[bin];
    index_bit[bin] = 0
#else
    d_step { won = index_bit[bin]; index_bit[bin] = 0 }
#endif
}

inline take_over(bin)
{
    d_step { assert(in_use && flags == LISTED && bin_of == bin); flags = OWNED };
    if
    :: is_spare -> is_spare = 0; spares[bin] = 0
    :: else
    fi
}

/* duty: what wr_slab_disown returns. */
inline wr_slab_disown()
{
    d_step { seen_flags = flags; seen_count = count; assert(seen_flags == OWNED) };
    do
    :: seen_count == BLOCKS -> duty = EMPTY; break
    :: else ->
#if MUTANT == 2
        d_step {
            if
            :: seen_count > 0 -> flags = LISTED; duty = LIST
            :: else -> flags = NONE; duty = NOTHING
            fi
        };
        break
#else
        if
        :: d_step { flags == seen_flags && count == seen_count ->
            if
            :: seen_count > 0 -> flags = LISTED; duty = LIST
            :: else -> flags = NONE; duty = NOTHING
            fi }
            break
        :: d_step { !(flags == seen_flags && count == seen_count) ->
            seen_flags = flags; seen_count = count }
        fi
#endif
    od
}

inline retire()
{
    bin = bin_of;
    if
    :: d_step { !spares[bin] -> spares[bin] = 1 }
        is_spare = 1;
        d_step { assert(flags == OWNED); flags = LISTED };
        set_index_bit(bin)
    :: d_step { spares[bin] -> skip }
        d_step {
            assert(in_use && flags == OWNED && count == BLOCKS && free_bits == FULL);
            assert(holder[0] == 0 && holder[1] == 0 && adding == 0);
            in_use = 0
        };
        available = 1
    fi;
    bin = 0
}

/* What follows LIST and EMPTY, until the caller is done with the slab. The source has this as three
 * functions that call each other: wr_bin_list, claim_empty, wr_bin_give_up. */
inline do_duty()
{
    do
    :: duty == NOTHING -> break
    :: duty == LIST -> /* wr_bin_list */
#if MUTANT == 3
        list_bin = early_bin;
#else
        list_bin = bin_of;
#endif
        set_index_bit(list_bin);
#if MUTANT == 4
        duty = NOTHING
#else
        d_step {
            if
            :: !(flags & OWNED) && count == BLOCKS -> duty = CLAIM
            :: else -> duty = NOTHING
            fi
        }
#endif
    :: duty == CLAIM -> /* claim_empty */
        wr_bin_unlist_try(list_bin);
        if
        :: won -> won = 0; take_over(list_bin); wr_slab_disown()
        :: else -> duty = NOTHING
        fi
    :: duty == EMPTY -> retire(); duty = NOTHING
    od;
    list_bin = 0; seen_flags = 0; seen_count = 0
}

inline wr_bin_give_up()
{
    wr_slab_disown();
    do_duty()
}

/* Returns the blocks of `mask`: put, then add, of wr_return. */
inline wr_return(mask)
{
    count_blocks(mask, n);
#if MUTANT == 5
    d_step { count = count + n; seen_flags = flags; seen_count = count };
#endif
    d_step { /* wr_slab_put */
        assert(in_use && (free_bits & mask) == 0);
        take_back(mask);
        free_bits = free_bits | mask;
        mine = mine & ~mask;
        adding++
    };
    early_bin = bin_of; /* add() reads the bin while the blocks keep the slab in use */
    list_bin = early_bin;
    /* wr_slab_add */
#if MUTANT != 5
    d_step { count = count + n; seen_flags = flags; seen_count = count; adding-- };
#else
    adding--;
#endif
    n = 0;
    do
    :: seen_flags & OWNED -> duty = NOTHING; break
    :: seen_flags & LISTED ->
        if
#if MUTANT != 6
        :: seen_count == BLOCKS -> duty = CLAIM
#endif
        :: else -> duty = NOTHING
        fi;
        break
    :: seen_flags == NONE && seen_count <= 0 -> duty = NOTHING; break
    :: seen_flags == NONE && seen_count > 0 ->
#if MUTANT == 7
        flags = flags | LISTED; duty = LIST; break
#else
        if
        :: d_step { flags == seen_flags && count == seen_count -> flags = LISTED; duty = LIST }
            break
        :: d_step { !(flags == seen_flags && count == seen_count) ->
            seen_flags = flags; seen_count = count }
        fi
#endif
    od;
    do_duty();
    early_bin = 0
}

inline wr_slab_open(bin)
{
    d_step { assert(!in_use && flags == OWNED); bin_of = bin };
    is_spare = 0;
    free_bits = FULL;
#if MUTANT == 8
    flags = NONE;
#endif
    d_step { count = BLOCKS; flags = OWNED };
    in_use = 1
}

/* The caller ends with a block or two, or with none when there is no memory. */
inline wr_bin_refill(bin, most)
{
    do
    :: kept ->
        wr_slab_take(most);
        if
        :: want != 0 -> want = 0; break
        :: else -> kept = 0; wr_bin_give_up()
        fi
    :: !kept ->
        if
        :: index_bit[bin] -> /* claim_lowest */
            wr_bin_unlist_try(bin);
            if
            :: won -> won = 0; take_over(bin); kept = 1
            :: else
            fi
        :: d_step { !index_bit[bin] && available -> available = 0 } /* open_slab */
            wr_slab_open(bin);
            kept = 1
        :: d_step { !index_bit[bin] && !available -> skip }
            break
        fi
    od
}

mtype = {NOTHING, LIST, CLAIM, EMPTY};

proctype thread(byte me)
{
    byte rounds = ROUNDS;
    byte mine;  /* blocks held */
    byte want;
    byte n;
    byte bin;
    byte my_bin;
    byte list_bin;
    byte early_bin;
    byte seen_flags;
    short seen_count;
    bool won;
    bool kept;
    mtype duty = NOTHING;

    do
    :: rounds > 0 && mine == 0 ->
        rounds--;
        if
        :: kept /* the slab is of my_bin */
        :: !kept -> my_bin = 0
        :: !kept -> my_bin = 1
        fi;
        if
        :: wr_bin_refill(my_bin, 1)
        :: wr_bin_refill(my_bin, 2)
        fi;
        if /* a cold class gives its slab up at once */
        :: kept -> kept = 0; wr_bin_give_up()
        :: true
        fi
    :: mine == FULL -> /* one block, or both at once */
        if
        :: wr_return(1)
        :: wr_return(2)
        :: wr_return(FULL)
        fi
    :: mine == 1 -> wr_return(1)
    :: mine == 2 -> wr_return(2)
    :: rounds == 0 -> break /* blocks that it has left stay out for ever */
    od;
    if
    :: kept -> kept = 0; wr_bin_give_up()
    :: else
    fi;
    finished++
}

init {
    byte i = 1;
    atomic {
        if /* the bins may have another slab as their spare */
        :: spares[0] = 1
        :: true
        fi;
        if
        :: spares[1] = 1
        :: true
        fi;
        do
        :: i <= THREADS -> run thread(i); i++
        :: else -> break
        od
    };
    finished == THREADS;
    count_blocks(free_bits, i);
    assert(count == i && adding == 0);
    assert((free_bits & 1) == (holder[0] == 0) && (free_bits >> 1) == (holder[1] == 0));
    assert(!index_bit[1 - bin_of] && index_bit[bin_of] == (flags == LISTED));
    if
    :: !in_use -> assert(available && flags == OWNED)
    :: in_use && count == BLOCKS -> assert(flags == LISTED && is_spare && spares[bin_of])
    :: in_use && count < BLOCKS -> assert(flags == (count > 0 -> LISTED : NONE))
    fi
}
