/* The program's C++ runtime, for operator new: its new_handler, its std::bad_alloc, and catching
 * what a handler throws. Sources: ISO C++17 [new.delete.single], Itanium C++ ABI (exceptions).
 *
 * Cold: called only when memory has run out. Nothing of a C++ runtime is linked: its functions are
 * weak symbols, looked up by name in the loaded runtime where the program loaded it later. */
#ifndef WR_API_CXX_H
#define WR_API_CXX_H

#include "base/compiler.h"

typedef void wr_cxx_handler(void);

/* std::get_new_handler(), NULL where there is no runtime. */
wr_cxx_handler *wr_cxx_new_handler(void);

/* Throws std::bad_alloc; without a runtime, says so in one line and aborts. */
WR_NORETURN void wr_cxx_throw_bad_alloc(void);

/* Calls handler; false if it threw, and then the exception is caught and gone. Where the machine is
 * unknown to this file, exceptions pass through. */
bool wr_cxx_call_catching(wr_cxx_handler *handler);

#endif
