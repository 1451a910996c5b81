/* See cxx.h. */
#ifndef WR_PLAIN_NAMES

#include "api/cxx.h"

#include "base/report.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unwind.h>

/* Weak: bound where the runtime was loaded with the program, else null. */
WR_WEAK wr_cxx_handler *_ZSt15get_new_handlerv(void);
WR_WEAK void _ZSt17__throw_bad_allocv(void);
WR_WEAK void *__cxa_begin_catch(void *exception);
WR_WEAK void __cxa_end_catch(void);
WR_WEAK void *dlopen(const char *file, int mode);
WR_WEAK void *dlsym(void *restrict library, const char *restrict name);

/* A function of a library that the program loaded by itself; NULL if there is none. */
static void *find_loaded(const char *library, const char *name)
{
    void *handle = dlopen == NULL ? NULL : dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    return handle == NULL || dlsym == NULL ? NULL : dlsym(handle, name);
}

#define RUNTIME "libstdc++.so.6"

/* The weak symbol, or what the loaded runtime has under the name. */
#define FIND(symbol) ((void *)(symbol) != NULL ? (void *)(symbol) : find_loaded(RUNTIME, #symbol))

wr_cxx_handler *wr_cxx_new_handler(void)
{
    wr_cxx_handler *(*get)(void) = (wr_cxx_handler * (*)(void)) FIND(_ZSt15get_new_handlerv);
    return get == NULL ? NULL : get();
}

void wr_cxx_throw_bad_alloc(void)
{
    void (*throw_it)(void) = (void (*)(void))FIND(_ZSt17__throw_bad_allocv);
    if (throw_it != NULL) {
        throw_it();
    }
    wr_report_warning("operator new", "out of memory, and no C++ runtime to throw std::bad_alloc");
    abort();
}

#if defined(__x86_64__)

/* Where a frame that catches goes on, in assembly below. */
void wr_cxx_landing(void);
void wr_cxx_swallow(void *exception);
_Unwind_Reason_Code wr_cxx_personality(int version, _Unwind_Action actions,
                                       _Unwind_Exception_Class class,
                                       struct _Unwind_Exception *exception,
                                       struct _Unwind_Context *context);

/* Ends the exception: the landing's only work. */
void wr_cxx_swallow(void *exception)
{
    void *(*begin)(void *) = (void *(*)(void *))FIND(__cxa_begin_catch);
    void (*end)(void) = (void (*)(void))FIND(__cxa_end_catch);
    if (begin == NULL || end == NULL) {
        abort(); /* who threw has these */
    }
    (void)begin(exception);
    end();
}

#pragma weak _Unwind_SetGR
#pragma weak _Unwind_SetIP

/* The personality routine of wr_cxx_call_catching: catches every exception, and lets forced unwinds
 * (thread cancellation) pass. */
_Unwind_Reason_Code wr_cxx_personality(int version, _Unwind_Action actions,
                                       _Unwind_Exception_Class class,
                                       struct _Unwind_Exception *exception,
                                       struct _Unwind_Context *context)
{
    (void)class;
    if (version != 1 || (actions & _UA_FORCE_UNWIND) != 0) {
        return _URC_CONTINUE_UNWIND;
    }
    void (*set_gr)(struct _Unwind_Context *, int, _Unwind_Word) = &_Unwind_SetGR;
    void (*set_ip)(struct _Unwind_Context *, _Unwind_Ptr) = &_Unwind_SetIP;
    if (set_gr == NULL || set_ip == NULL) {
        set_gr = (void (*)(struct _Unwind_Context *, int, _Unwind_Word))find_loaded(
            "libgcc_s.so.1", "_Unwind_SetGR");
        set_ip = (void (*)(struct _Unwind_Context *, _Unwind_Ptr))find_loaded("libgcc_s.so.1",
                                                                              "_Unwind_SetIP");
    }
    if (set_gr == NULL || set_ip == NULL) {
        return _URC_CONTINUE_UNWIND;
    }
    if ((actions & _UA_SEARCH_PHASE) != 0) {
        return _URC_HANDLER_FOUND;
    }
    if ((actions & _UA_HANDLER_FRAME) == 0) {
        return _URC_CONTINUE_UNWIND;
    }
    set_gr(context, __builtin_eh_return_data_regno(0), (_Unwind_Word)(uintptr_t)exception);
    set_ip(context, (_Unwind_Ptr)(uintptr_t)&wr_cxx_landing);
    return _URC_INSTALL_CONTEXT;
}

/* bool wr_cxx_call_catching(handler): a frame with a personality, which C cannot write. The landing
 * is entered with the exception in rax and the stack as after the call. */
__asm__(".text\n"
        ".globl wr_cxx_call_catching\n"
        ".hidden wr_cxx_call_catching\n"
        ".type wr_cxx_call_catching, @function\n"
        "wr_cxx_call_catching:\n"
        "    .cfi_startproc\n"
        "    .cfi_personality 0x1b, wr_cxx_personality\n" /* relative to the table, 4 bytes */
        "    subq $8, %rsp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    call *%rdi\n"
        "    movl $1, %eax\n"
        "    addq $8, %rsp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        ".globl wr_cxx_landing\n"
        ".hidden wr_cxx_landing\n"
        "wr_cxx_landing:\n"
        "    .cfi_def_cfa_offset 16\n"
        "    movq %rax, %rdi\n"
        "    call wr_cxx_swallow\n"
        "    xorl %eax, %eax\n"
        "    addq $8, %rsp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size wr_cxx_call_catching, . - wr_cxx_call_catching\n");

#else

bool wr_cxx_call_catching(wr_cxx_handler *handler)
{
    handler();
    return true;
}

#endif

#else
/* ISO C wants a declaration in every file. */
typedef int wr_cxx_is_left_out;
#endif
