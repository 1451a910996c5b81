/* Stealing from living threads: src/cache/steal.c against the owner's fast path (src/api/fast.h) and
 * slow calls (src/cache/cache.c), step by step.
 *
 * Two owners, each with a bin of three places, one with a full bin and one whose program has blocks,
 * and a thief that sweeps both. Owners have the store
 * buffer that processors have: what they store reaches the others later, in order; their own loads
 * go past it. A barrier in all threads (os/barrier.h) empties the buffers; the thief's own stores
 * are followed by one before it looks. Entries need no buffer: nobody looks at one before the top
 * that was stored after it.
 * Checked for every interleaving: no block is in two hands, none is lost, and in the end each block
 * that a cache holds lies between its base and its top.
 */
#ifndef OPS
#define OPS 4 /* calls of one owner; the other makes one */
#endif
#ifndef SWEEPS
#define SWEEPS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define OWNERS 2
#define PLACES 3
#define BLOCKS 7 /* numbered from 1; 0 is NULL */

mtype = { SLAB, CACHE, PROGRAM };
mtype where[8]; /* ghost: who has each block */

byte top[OWNERS];
byte base[OWNERS];
byte entry[6]; /* PLACES of each owner */
bool busy[OWNERS];
bool thief[OWNERS];
byte finished;

#define at(id, place) entry[(id) * PLACES + (place)]

/* Stores on their way: what is stored, and the value. */
mtype = { TOP, BASE, BUSY };
chan buffer0 = [5] of { mtype, byte };
chan buffer1 = [5] of { mtype, byte };

inline land(id, buffer)
{
    if
    :: buffer?TOP(arrived) -> top[id] = arrived
    :: buffer?BASE(arrived) -> base[id] = arrived
    :: buffer?BUSY(arrived) -> busy[id] = arrived
    fi;
    arrived = 0
}

inline wr_barrier_all()
{
    d_step {
        do
        :: nempty(buffer0) -> land(0, buffer0)
        :: empty(buffer0) && nempty(buffer1) -> land(1, buffer1)
        :: empty(buffer0) && empty(buffer1) -> break
        od
    }
}

/* A block of the slab's, for the caller; 0 if there is none. */
inline wr_bin_take(block)
{
    d_step {
        block = 1;
        do
        :: block > BLOCKS -> block = 0; break
        :: block <= BLOCKS && where[block] == SLAB -> break
        :: block <= BLOCKS && where[block] != SLAB -> block++
        od
    }
}

/* The hand-over of a block from one holder to the next. */
#define pass(block, from, to) d_step { assert(where[block] == from); where[block] = to }

/* ---- an owner: mine_* are its own view, past the buffer ---- */

/* Its own store of base, if that is still on its way, else what is in memory. */
inline load_base()
{
    d_step {
        if
        :: buffer ?? [BASE, 0] -> seen_base = 0
        :: !(buffer ?? [BASE, 0]) -> seen_base = base[id]
        fi
    }
}

inline enter()
{
#if MUTANT == 4
    seen = thief[id];
    buffer!BUSY(1);
#else
    buffer!BUSY(1);
    seen = thief[id];
#endif
#if MUTANT == 8
    seen = 0;
#endif
    entered = !seen;
    if
    :: !entered -> buffer!BUSY(0)
    :: else
    fi
}

inline leave()
{
    buffer!BUSY(0)
}

inline wr_cache_refill()
{
    enter();
    if
    :: !entered ->
        d_step { wr_bin_take(got); if :: got -> where[got] = PROGRAM; held = got :: else fi; got = 0 }
    :: entered ->
        load_base();
        if
#if MUTANT != 9
        :: seen_base < mine_top -> /* the thief has put base back since the call looked */
            got = at(id, mine_top - 1);
            mine_top--;
            buffer!TOP(mine_top);
            pass(got, CACHE, PROGRAM);
            held = got;
            got = 0
        :: seen_base >= mine_top ->
#else
        :: true ->
#endif
            buffer!BASE(0);
            mine_top = 0;
            d_step { wr_bin_take(got); if :: got -> where[got] = PROGRAM; held = got :: else fi; got = 0 };
            d_step {
                wr_bin_take(got);
                if
                :: got -> where[got] = CACHE; at(id, 0) = got; mine_top = 1
                :: else
                fi;
                got = 0
            };
            buffer!TOP(mine_top)
        fi;
        leave()
    fi
}

inline wr_fast_pop()
{
    load_base();
#if MUTANT == 5
    if
    :: mine_top == seen_base -> wr_cache_refill()
    :: mine_top != seen_base ->
#else
    if
    :: mine_top <= seen_base -> wr_cache_refill()
    :: mine_top > seen_base ->
#endif
        mine_top--;
        buffer!TOP(mine_top);
        got = at(id, mine_top);
        pass(got, CACHE, PROGRAM);
        held = got;
        got = 0
    fi;
    seen_base = 0
}

/* The bin is full: the oldest block goes back to its slab, the others move down. */
inline wr_cache_overflow()
{
    enter();
    if
    :: !entered -> pass(held, PROGRAM, SLAB)
    :: entered ->
        load_base();
        if
        :: seen_base == 0 ->
            got = at(id, 0);
            at(id, 0) = at(id, 1);
            at(id, 1) = at(id, 2);
            pass(got, CACHE, SLAB);
            got = 0;
            d_step { assert(where[held] == PROGRAM); where[held] = CACHE; at(id, 2) = held }
        :: seen_base != 0 -> /* a thief has made room below: close_up() */
            place = 0;
            do
            :: seen_base + place < mine_top -> at(id, place) = at(id, seen_base + place); place++
            :: else -> break
            od;
            buffer!BASE(0);
            d_step { assert(where[held] == PROGRAM); where[held] = CACHE; at(id, place) = held };
            mine_top = place + 1;
            place = 0;
            buffer!TOP(mine_top)
        fi;
        leave()
    fi;
    held = 0
}

inline wr_fast_push()
{
    if
    :: mine_top < PLACES ->
        d_step { assert(where[held] == PROGRAM); where[held] = CACHE; at(id, mine_top) = held };
        held = 0;
        mine_top++;
        buffer!TOP(mine_top)
    :: else -> wr_cache_overflow()
    fi
}

proctype owner(byte id; chan buffer; byte ops; byte held; byte other)
{
    byte mine_top = top[id];
    byte got;
    byte seen_base;
    byte place;
    bool seen;
    bool entered;

    do
    :: ops > 0 ->
        ops--;
        if
        :: !held || !other ->
            if
            :: held -> d_step { other = held; held = 0 }
            :: else
            fi;
            wr_fast_pop()
        :: held || other ->
            if
            :: !held -> d_step { held = other; other = 0 }
            :: else
            fi;
            wr_fast_push()
        fi
    :: ops == 0 -> break
    od;
    if
    :: held -> pass(held, PROGRAM, SLAB)
    :: else
    fi;
    if
    :: other -> pass(other, PROGRAM, SLAB)
    :: else
    fi;
    finished++
}

/* Stores reach the others at any time. */
proctype processor(byte id; chan buffer)
{
    byte arrived;
end:
    do
    :: d_step { nempty(buffer) -> land(id, buffer) }
    od
}

/* ---- the thief ---- */

inline let_go()
{
    thief[id] = 0
}

inline hold()
{
#if MUTANT == 7
    held[id] = 1
#else
    if
    :: busy[id] -> let_go(); held[id] = 0
    :: else -> held[id] = 1
    fi
#endif
}

inline raise_bases()
{
    raised[id] = top[id];
    if
    :: raised[id] > base[id] -> base[id] = raised[id]
    :: else -> raised[id] = base[id]
    fi
}

inline take_from_bin()
{
    seen = top[id];
    place = 0;
    do
    :: place < raised[id] && at(id, place) == 0 -> place++
    :: else -> break
    od;
    do
#if MUTANT == 2
    :: place < raised[id] && place < seen ->
#elif MUTANT == 6
    :: place + 1 < seen ->
#else
    :: place < raised[id] && place + 1 < seen ->
#endif
        pass(at(id, place), CACHE, SLAB);
        at(id, place) = 0;
        place++
    :: else -> break
    od;
    base[id] = place
}

inline wr_steal()
{
    thief[0] = 1;
    thief[1] = 1;
#if MUTANT != 3
    wr_barrier_all();
#endif
    id = 0;
    do
    :: id < OWNERS ->
        hold();
        if
        :: held[id] -> raise_bases()
        :: else
        fi;
        id++
    :: else -> break
    od;
#if MUTANT != 1
    wr_barrier_all();
#endif
    id = 0;
    do
    :: id < OWNERS ->
        if
        :: held[id] -> take_from_bin(); let_go()
        :: else
        fi;
        id++
    :: else -> break
    od
}

proctype sweeper()
{
    byte sweeps = SWEEPS;
    byte id;
    byte raised[OWNERS];
    bool held[OWNERS];
    byte seen;
    byte place;
    byte arrived;

    do
    :: sweeps > 0 -> sweeps--; wr_steal()
    :: else -> break
    od;
    finished++
}

init {
    byte id;
    byte place;
    byte found;
    atomic {
        place = 1;
        do
        :: place <= BLOCKS -> where[place] = SLAB; place++
        :: else -> break
        od;
        /* The first cache has three blocks, the second one, and its owner's program two. */
        at(0, 0) = 1; at(0, 1) = 2; at(0, 2) = 3; top[0] = 3;
        at(1, 0) = 4; top[1] = 1;
        where[1] = CACHE; where[2] = CACHE; where[3] = CACHE; where[4] = CACHE;
        where[5] = PROGRAM; where[6] = PROGRAM;
        if
        :: run owner(0, buffer0, OPS, 0, 0); run owner(1, buffer1, 1, 5, 6)
        :: where[7] = PROGRAM; run owner(0, buffer0, OPS, 7, 0); run owner(1, buffer1, 1, 5, 6)
        :: run owner(0, buffer0, 1, 0, 0); run owner(1, buffer1, OPS, 5, 6)
        fi;
        run processor(0, buffer0);
        run processor(1, buffer1);
        run sweeper()
    };
    finished == OWNERS + 1 && empty(buffer0) && empty(buffer1);
    /* What lies in the caches is all that they should hold, each once. */
    d_step {
        id = 0;
        do
        :: id < OWNERS ->
            assert(base[id] <= top[id]);
            place = base[id];
            do
            :: place < top[id] ->
                assert(where[at(id, place)] == CACHE);
                where[at(id, place)] = SLAB;
                place++
            :: else -> break
            od;
            id++
        :: else -> break
        od;
        place = 1;
        do
        :: place <= BLOCKS -> assert(where[place] == SLAB); place++
        :: else -> break
        od
    }
}
