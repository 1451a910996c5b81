/* Misuses, and what check mode says of each.
 *
 * A case runs in a process of its own, once a level: 0 says nothing and goes on, 1 reports and goes
 * on, 2 aborts, 3 reports and aborts, 5 reports by one line. Before the misuse it says what it
 * expects, as the first line on standard error; the rest is what weir says.
 */
#ifndef WEIR_TESTS_DEATH_H
#define WEIR_TESTS_DEATH_H

#ifdef __cplusplus
extern "C" {
#endif

/* Stacks that the report has, besides the call that found it. */
enum { NO_STACK = 0, ALLOCATED = 1, FREED = 2, NOT_CALLED = 4, NOTHING = 8 };

struct misuse {
    const char *name;
    void (*run)(void);
    int stacks;
    const char *setting; /* an environment variable, or NULL */
};

/* Says what the report will be, without "weir: " and the newline. */
void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The cases of this program; ended by one without a name. */
extern const struct misuse misuses[];

#ifdef __cplusplus
}
#endif

#endif
