/* For the coverage build alone: a process that ends by abort() or _exit() writes its counters too.
 *
 * Compiled into each program and library, since each has counters of its own and knows no others,
 * and called through the linker's --wrap (CMakeLists.txt). */
#include <gcov.h>

_Noreturn void __real_abort(void);
_Noreturn void __real__exit(int status);

/* Hidden: none may stand in for another's. Weak: a program has one for each of its parts. */
#define OWN __attribute__((visibility("hidden"), weak))
OWN _Noreturn void __wrap_abort(void);
OWN _Noreturn void __wrap__exit(int status);

void __wrap_abort(void)
{
    __gcov_dump();
    __real_abort();
}

void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}
