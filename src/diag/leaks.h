/* The report at exit of what was not freed, in check mode (option leaks).
 *
 *     weir: leaks: 3 blocks of 120 bytes in all not freed, by 2 stacks
 *     weir: leaks: 2 blocks, 96 bytes
 *     weir:   allocated by #0 ...
 *
 * Grouped by stack, the most bytes first, WR_LEAKS_GROUPS of them. A block that the program still
 * points to is not told from a lost one. */
#ifndef WR_DIAG_LEAKS_H
#define WR_DIAG_LEAKS_H

#include "base/compiler.h"

/* Prints it if the option asks for it. Other threads may run. */
void wr_leaks_print(void);

#endif
