/* A program's own syscall, between weir and libc's: own_syscall(), which the program defines, gets
 * each call with its arguments, answers it or passes it on. */
#ifndef WEIR_TESTS_OWN_SYSCALL_H
#define WEIR_TESTS_OWN_SYSCALL_H

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support.h"

#define SYSCALL_ARGUMENTS 6

typedef long syscall_function(long number, ...);

static syscall_function *libc_syscall;

/* The answer to a call, as syscall(2) gives it, with errno. */
static long own_syscall(long number, const long *a);

static long pass_syscall_on(long number, const long *a)
{
    return libc_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

__attribute__((constructor)) static void find_libc_syscall(void)
{
    libc_syscall = (syscall_function *)dlsym(RTLD_NEXT, "syscall");
    CHECK(libc_syscall != NULL);
}

long syscall(long number, ...)
{
    long a[SYSCALL_ARGUMENTS];
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < SYSCALL_ARGUMENTS; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    return own_syscall(number, a);
}

#endif
