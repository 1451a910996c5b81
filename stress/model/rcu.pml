/* Deferred free: src/rcu/gather.c, round.c and reclaimer.c, step by step.
 *
 * Two mutators unlink objects and push them; each ends by handing over, or sleeps for ever. A reader
 * takes what is linked and holds it within its section; the second mutator waits for a barrier; the
 * reclaimer runs rounds. Checked for every interleaving: nothing is freed while the reader holds it, each
 * object is freed once, a barrier returns when all is free that was deferred before, nobody waits
 * for ever, and when the reclaimer sleeps for good nothing is deferred. A batch has room for CAP
 * objects. A tick may come at any time. The gate (fork) and the limit are not in it.
 */
#ifndef MUTANT
#define MUTANT 0
#endif
#ifndef SECTIONS
#define SECTIONS 1
#endif

#define MUTATORS 2
#define EACH     2 /* objects of the first mutator; the other has one */
#define OBJECTS  4
#define CAP      2
#define NONE     255

/* Where an object is. */
#define LINKED   0
#define UNLINKED 1
#define GATHERED 2 /* in its mutator's batch, whose state the slot is */
#define BY_OWNER 3 /* in a batch that its owner passes on */
#define BY_TAKER 4 /* in a batch that the reclaimer passes on */
#define QUEUED   5
#define IN_ROUND 6
#define FREE     7
byte where[OBJECTS];

/* The slot of a gather. */
#define EMPTY 0
#define THERE 1
#define HELD  2
byte slot[MUTATORS];
byte deferred[MUTATORS];
byte handed[MUTATORS];
byte begun[MUTATORS];
byte seen_begun[MUTATORS];
bool gone[MUTATORS]; /* ghost: the batch that the owner put there last was taken */
byte pending;

#define FOR_GOOD 0
#define TICK     1
#define AWAKE    2
byte sleep = AWAKE;
bool bell; /* has rung since the reclaimer last looked */
byte barrier_wanted;
byte barrier_done;

bool in_section;
byte section; /* number of the reader's section */
byte holds = NONE;

bool is_deferred[OBJECTS]; /* ghost: its weir_free_rcu has returned */
byte finished;             /* ghost: mutators */
#define ALL_FINISHED (finished == MUTATORS)
byte late;                 /* ghost: rounds begun since all were finished */

#define all_free                                                                                   \
    (where[0] == FREE && where[1] == FREE && where[2] == FREE && where[3] == FREE)

inline ring()
{
    bell = 1
}

/* Moves the objects of mutator m from one place to another. */
inline move(m, from, to)
{
    i = 0;
    do
    :: i < EACH ->
        if
        :: where[m * EACH + i] == from -> where[m * EACH + i] = to
        :: else -> skip
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

/* ---- gather.c ---- */

/* n objects of gather m, which are at `hand`. */
inline pass_on(m, hand, n)
{
    pending = pending + n;
#if MUTANT == 4
    handed[m] = handed[m] + n;
#endif
    d_step { move(m, hand, QUEUED) };
#if MUTANT != 4
    handed[m] = handed[m] + n
#endif
}

/* Nothing is due before its tick here: the look matters where the reclaimer sleeps for good. */
inline wr_rcu_reclaimer_look()
{
    if
    :: sleep == FOR_GOOD -> ring()
    :: else -> skip
    fi
}

inline hand_over()
{
    d_step {
        assert(slot[self] == HELD);
        slot[self] = EMPTY;
        move(self, GATHERED, BY_OWNER)
    };
    has = 0;
    note = 0;
    pass_on(self, BY_OWNER, count);
    count = 0;
#if MUTANT != 12
    wr_rcu_reclaimer_look()
#endif
}

inline hold()
{
#if MUTANT == 3
    if
    :: note -> slot[self] = HELD; has = 1
    :: else -> has = 0
    fi
#else
    atomic {
        if
        :: slot[self] == THERE -> slot[self] = HELD; has = 1
        :: else -> has = 0
        fi
    }
#endif
}

inline begin()
{
    d_step { slot[self] = HELD; begun[self]++; gone[self] = 0; count = 0; has = 1 }
}

inline wr_rcu_reclaimer_notice()
{
    if
    :: sleep == FOR_GOOD -> ring()
    :: else -> skip
    fi
}

inline announce()
{
#if MUTANT == 8
    if
    :: count == 1 -> wr_rcu_reclaimer_notice()
    :: else -> skip
    fi;
    deferred[self]++
#else
    deferred[self]++;
    if
    :: count == 1 -> wr_rcu_reclaimer_notice()
    :: else -> skip
    fi
#endif
}

inline push()
{
    hold();
    if
    :: !has -> begin()
    :: else -> skip
    fi;
    d_step {
        assert(slot[self] == HELD && !gone[self]);
        where[self * EACH + n] = GATHERED;
        count++
    };
    is_full = (count == CAP);
    if
    :: !is_full -> d_step { assert(slot[self] == HELD); slot[self] = THERE; note = (MUTANT == 3) }
    :: else -> skip
    fi;
    announce();
    if
    :: is_full -> hand_over()
    :: else -> skip
    fi
}

/* The second mutator's: what both had deferred before is free on return. */
inline wr_rcu_reclaimer_barrier()
{
    d_step {
        o = 0;
        do
        :: o < OBJECTS -> before[o] = is_deferred[o]; o++
        :: else -> break
        od;
        o = 0
    };
    d_step { barrier_wanted++; number = barrier_wanted };
#if MUTANT != 11
    ring();
#endif
    barrier_done >= number;
    d_step {
        o = 0;
        do
        :: o < OBJECTS -> assert(!before[o] || where[o] == FREE); before[o] = 0; o++
        :: else -> break
        od;
        o = 0
    }
}

proctype mutator(byte self)
{
    byte n;     /* objects pushed */
    byte count; /* of the batch */
    byte i, o, number;
    bool before[OBJECTS];
    bool note; /* of mutant 3: that its batch is there */
    bool has;
    bool is_full;

    do
    :: n < EACH - self ->
        where[self * EACH + n] = UNLINKED;
        push();
        d_step { is_deferred[self * EACH + n] = 1; n++; is_full = 0; has = 0 }
    :: else -> break
    od;
    if
    :: self == 1 -> wr_rcu_reclaimer_barrier()
    :: else -> skip
    fi;
    if
    :: true -> /* the thread ends */
        hold();
        if
        :: has -> hand_over()
        :: else -> skip
        fi
    :: true -> skip /* it sleeps for ever */
    fi;
    finished++
}

/* ---- round.c ---- */

inline wr_rcu_gather_take(m)
{
    d_step {
#if MUTANT == 2
        if
        :: slot[m] != EMPTY ->
#else
        if
        :: slot[m] == THERE ->
#endif
            slot[m] = EMPTY;
            gone[m] = 1;
            taken = (where[m * EACH] == GATHERED) + (where[m * EACH + 1] == GATHERED);
            move(m, GATHERED, BY_TAKER)
        :: else -> taken = 0
        fi
    };
    if
    :: taken != 0 -> pass_on(m, BY_TAKER, taken)
    :: else -> skip
    fi
}

inline take_all(m)
{
    target = deferred[m];
    do
    :: handed[m] >= target -> break
    :: handed[m] < target && slot[m] != HELD -> wr_rcu_gather_take(m)
    od;
    target = 0
}

inline take_aged(m)
{
    b = begun[m];
    d = deferred[m];
    if
    :: handed[m] != d ->
#if MUTANT != 10
        if
        :: b == seen_begun[m] -> wr_rcu_gather_take(m)
        :: else -> skip
        fi;
#endif
        seen_begun[m] = b
    :: else -> skip
    fi;
    d_step { b = 0; d = 0 }
}

inline wait_for_readers()
{
    d_step { waits = in_section; s = section };
    !waits || !in_section || section != s;
    d_step { waits = 0; s = 0 }
}

inline collect()
{
    g = 0;
    do
    :: g < MUTATORS ->
#if MUTANT == 6
        take_aged(g);
#else
        if
        :: all -> take_all(g)
        :: else -> take_aged(g)
        fi;
#endif
        g++
    :: else -> break
    od;
    g = 0;
    d_step {
        move(0, QUEUED, IN_ROUND);
        move(1, QUEUED, IN_ROUND)
    }
}

/* In one step: what is in the round is nobody's but the round's, and the reader takes no more of it. */
inline free_held()
{
    d_step {
        o = 0;
        do
        :: o < OBJECTS ->
            if
            :: where[o] == IN_ROUND -> assert(holds != o); where[o] = FREE; pending--
            :: else -> skip
            fi;
            o++
        :: else -> break
        od;
        o = 0
    }
}

inline wr_rcu_round_run()
{
    wanted = barrier_wanted;
    all = (wanted != barrier_done);
#if MUTANT == 1
    wait_for_readers();
#endif
    collect();
    if
    :: where[0] == IN_ROUND || where[1] == IN_ROUND || where[2] == IN_ROUND ||
       where[3] == IN_ROUND ->
#if MUTANT != 1 && MUTANT != 9
        wait_for_readers();
#endif
        free_held()
    :: else -> skip
    fi;
#if MUTANT == 5
    barrier_done = barrier_wanted;
#else
    barrier_done = wanted;
#endif
    d_step { wanted = 0; all = 0; g = 0 }
}

/* ---- reclaimer.c ---- */

#define is_due (barrier_wanted != barrier_done)

inline has_deferred(result)
{
    result = (pending != 0);
    g = 0;
    do
    :: !result && g < MUTATORS ->
        d = deferred[g];
        result = (handed[g] != d);
        g++
    :: else -> break
    od;
    g = 0;
    d = 0
}

inline sleep_reclaimer()
{
    bell = 0;
    has_deferred(tick);
    sleep = (tick -> TICK : FOR_GOOD);
    again = tick;
#if MUTANT != 7
    if
    :: !tick -> has_deferred(again)
    :: else -> skip
    fi;
#endif
    if
    :: is_due || again != tick -> skip
    :: else ->
        if
        :: tick -> skip
        :: else ->
end_asleep: bell
        fi
    fi;
    sleep = AWAKE;
    d_step { tick = 0; again = 0 }
}

proctype reclaimer()
{
    byte i, g, o, b, d, s, taken, target, wanted;
    bool all, waits, tick, again;

    do
    :: true ->
        d_step {
            late = late + (ALL_FINISHED -> 1 : 0);
            assert(late <= 4)
        };
        wr_rcu_round_run();
        if
        :: !is_due -> sleep_reclaimer()
        :: else -> skip
        fi
    od
}

/* The first object of each mutator: the second goes the same ways. */
proctype reader()
{
    byte rounds = SECTIONS;

    do
    :: rounds > 0 ->
        d_step { in_section = 1; section++ };
        if
        :: atomic { where[0] == LINKED -> holds = 0 }
        :: atomic { where[2] == LINKED -> holds = 2 }
        :: skip
        fi;
        d_step { assert(holds == NONE || where[holds] != FREE); holds = NONE };
        in_section = 0;
        rounds--
    :: else -> break
    od
}

init {
    atomic {
        where[3] = FREE;
        run mutator(0);
        run mutator(1);
        run reclaimer();
        run reader()
    };
    /* Nothing stays for ever: with all at rest. */
    ALL_FINISHED && sleep == FOR_GOOD && !in_section;
    timeout;
    assert(all_free && pending == 0)
}
