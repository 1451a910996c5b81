/* See summary.h. */
#include "page/summary.h"

#include "base/assert.h"

/* Sets a bit unless it is set: a plain look is enough, as a clearer looks back after clearing. */
static void set_bit(_Atomic uint64_t *word, uint64_t bit)
{
    /* Sees a clear that went before our leaf was looked at; pairs with clear_bit(). */
    if ((wr_load_seq_cst(word) & bit) == 0) {
        /* As the load above; pairs with clear_bit(). */
        (void)wr_fetch_or_seq_cst(word, bit);
    }
}

/* Clears a bit whose word below was zero; true if the word below has filled since. */
static bool clear_bit(_Atomic uint64_t *word, uint64_t bit, _Atomic uint64_t *below)
{
    /* Clear first, look second; pairs with set_bit(), whose caller set the word below first. */
    (void)wr_fetch_and_seq_cst(word, ~bit);
    /* The second step of the pair above; pairs with set_bit(). */
    return wr_load_seq_cst(below) != 0;
}

void wr_summary_mark(wr_summary *summary, unsigned word)
{
    unsigned mid = word / WR_WORD_BITS;
    set_bit(&summary->mid[mid], (uint64_t)1 << (word % WR_WORD_BITS));
    set_bit(&summary->top, (uint64_t)1 << mid);
}

void wr_summary_unmark(wr_summary *summary, unsigned word, _Atomic uint64_t *leaf)
{
    unsigned mid = word / WR_WORD_BITS;
    if (clear_bit(&summary->mid[mid], (uint64_t)1 << (word % WR_WORD_BITS), leaf)) {
        wr_summary_mark(summary, word);
        return;
    }
    /* Relaxed: a stale value only decides whether the top bit is tried. */
    if (wr_load_relaxed(&summary->mid[mid]) == 0 &&
        clear_bit(&summary->top, (uint64_t)1 << mid, &summary->mid[mid])) {
        set_bit(&summary->top, (uint64_t)1 << mid);
    }
}

unsigned wr_summary_next(wr_summary *summary, unsigned from)
{
    /* Relaxed: these are hints; claiming a leaf's bit is what orders. */
    while (from < WR_SUMMARY_WORDS) {
        unsigned mid = from / WR_WORD_BITS;
        uint64_t word = wr_load_relaxed(&summary->mid[mid]) >> (from % WR_WORD_BITS);
        if (word != 0) {
            return from + wr_lowest_bit(word);
        }
        if (mid + 1 >= WR_SUMMARY_MIDS) {
            break;
        }
        uint64_t top = wr_load_relaxed(&summary->top) >> (mid + 1);
        if (top == 0) {
            break;
        }
        from = (mid + 1 + wr_lowest_bit(top)) * WR_WORD_BITS;
    }
    return WR_SUMMARY_WORDS;
}

void wr_summary_assert_valid(wr_summary *summary, _Atomic uint64_t *leaves, size_t stride)
{
    /* Relaxed: at rest. */
    for (unsigned w = 0; w < WR_SUMMARY_WORDS; w++) {
        uint64_t mid = wr_load_relaxed(&summary->mid[w / WR_WORD_BITS]);
        uint64_t top = wr_load_relaxed(&summary->top);
        bool marked = (mid >> (w % WR_WORD_BITS) & 1) != 0 && (top >> (w / WR_WORD_BITS) & 1) != 0;
        WR_ASSERT(marked || wr_load_relaxed(&leaves[w * stride]) == 0);
        (void)marked;
    }
}
