/* The summary at exit (option summary): one line on standard error of what weir served. */
#ifndef WR_DIAG_SUMMARY_H
#define WR_DIAG_SUMMARY_H

/* "weir: pid <n>: served <bytes>, peak <bytes> mapped, <bytes> committed, <bytes> given back, <n>
 * slow calls, <n> caches, RSS <now> (peak <bytes>)". Served counts what bins gave to caches and
 * large objects; blocks that a thread used again from its cache are not seen, since the fast path
 * counts nothing. */
void wr_summary_print(void);

/* Holds on to standard error: many programs close it before the last destructor runs. At start-up,
 * where a summary is wanted. */
void wr_summary_prepare(void);

#endif
