/* Allocating, filling, checking and freeing blocks of all kinds, as most contract tests need it.
 * Compiled once per flavour, since it calls the family under test; nothing else allocates here.
 */
#ifndef WEIR_TESTS_API_EXERCISE_H
#define WEIR_TESTS_API_EXERCISE_H

#include "support.h"

/* Allocates two blocks of a size in every range, fills them over their usable size, looks at all
 * of them again and frees them. Aborts with a line on stderr if anything is wrong. */
void family_exercise(uint64_t tag);
/* The same for `count` live blocks of random sizes up to `limit` bytes at a time. */
void family_exercise_many(uint64_t seed, size_t count, size_t limit);

#endif
