/* weir.h alone, as C++17: it needs nothing before it, and its functions do not throw. */
#include "weir/weir.h"
#include "weir/weir.h"

static_assert(noexcept(weir_malloc(1)), "weir_malloc does not throw");
static_assert(noexcept(weir_free(nullptr)), "weir_free does not throw");
static_assert(noexcept(weir_free_batch(0, nullptr)), "weir_free_batch does not throw");
