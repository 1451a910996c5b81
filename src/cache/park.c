/* See park.h. */
#include "cache/park.h"

#include "os/thread.h"
#include "page/summary.h"

static _Atomic uint64_t parked[WR_SUMMARY_WORDS];
static wr_summary parked_words;
static _Atomic unsigned parked_count; /* relaxed: a statistic */

_Static_assert(WR_CACHES_MAX == WR_SUMMARY_WORDS * WR_WORD_BITS, "a bit per cache");

void wr_park_push(wr_cache *cache)
{
    wr_cache_rest(cache);
    wr_store_relaxed(&cache->owner, 0); /* before the bit, with the contents */
    unsigned word = cache->id / WR_WORD_BITS;
    /* Publishes the cache's contents; pairs with wr_park_adopt(). Before the mark, see
     * page/summary.h; pairs with wr_summary_unmark(). */
    (void)wr_fetch_add_relaxed(&parked_count, 1);
    (void)wr_fetch_or_seq_cst(&parked[word], (uint64_t)1 << (cache->id % WR_WORD_BITS));
    wr_summary_mark(&parked_words, word);
}

wr_cache *wr_park_adopt(void)
{
    unsigned word = 0;
    while ((word = wr_summary_next(&parked_words, word)) < WR_SUMMARY_WORDS) {
        /* seq_cst: a word seen empty is unmarked; pairs with wr_park_push(). */
        uint64_t bits = wr_load_seq_cst(&parked[word]);
        if (bits == 0) {
            wr_summary_unmark(&parked_words, word, &parked[word]);
            word++;
            continue;
        }
        unsigned number = word * WR_WORD_BITS + wr_lowest_bit(bits);
        uint64_t bit = bits & -bits;
        /* Linearisation point. Observes the contents; pairs with wr_park_push(). */
        uint64_t old = wr_fetch_and_seq_cst(&parked[word], ~bit);
        if ((old & bit) != 0) {
            (void)wr_fetch_sub_relaxed(&parked_count, 1);
            if ((old & ~bit) == 0) {
                wr_summary_unmark(&parked_words, word, &parked[word]);
            }
            return wr_cache_at(number);
        }
    }
    return NULL;
}

void wr_park_recover(void)
{
    unsigned count = 0;
    for (unsigned w = 0; w * WR_WORD_BITS < wr_cache_count(); w++) {
        /* Relaxed: the child has one thread. */
        uint64_t bits = wr_load_relaxed(&parked[w]);
        if (bits != 0) {
            wr_summary_mark(&parked_words, w);
            count += wr_count_bits(bits);
        }
    }
    wr_store_relaxed(&parked_count, count);
}

void wr_park_orphans(void)
{
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache *cache = wr_cache_at(i);
        /* Relaxed: who has the cache has written its own number, and only its end makes it one that
         * does not exist: then nobody has the cache, and nobody can get it. */
        int owner = cache == NULL ? 0 : wr_load_relaxed(&cache->owner);
        if (owner != 0 && !wr_thread_exists(owner)) {
            wr_park_push(cache);
        }
    }
}

unsigned wr_park_living(void)
{
    unsigned parked_now = wr_load_relaxed(&parked_count);
    unsigned all = wr_cache_count();
    return all > parked_now ? all - parked_now : 0;
}

bool wr_park_has_racy(const wr_cache *cache)
{
    uint64_t bits = wr_load_relaxed(&parked[cache->id / WR_WORD_BITS]);
    return (bits >> (cache->id % WR_WORD_BITS) & 1) != 0;
}
