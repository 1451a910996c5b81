/* WR_LIBC_NAME: exports a function once more under a name of libc (or C++); nothing in the plain
 * library. The alias has the type given, which the includer keeps equal to libc's. */
#ifndef WR_API_NAMES_H
#define WR_API_NAMES_H

#include "base/compiler.h"

#ifdef WR_PLAIN_NAMES
#define WR_LIBC_NAME(name, function, result, parameters)
#else
/* gcc wants the attributes of the target repeated; clang does not know the word for it. */
#if defined(__clang__)
#define WR_COPY_ATTRIBUTES(function)
#else
#define WR_COPY_ATTRIBUTES(function) __attribute__((copy(function)))
#endif
#define WR_LIBC_NAME(name, function, result, parameters)                                           \
    WR_COPY_ATTRIBUTES(function)                                                                   \
    __attribute__((visibility("default"), alias(#function))) extern result name parameters;
#endif

#endif
