/* weir.h alone, as C11, twice: it needs nothing before it and may be included again. */
#include "weir/weir.h"
#include "weir/weir.h"

typedef int header_compiles_as_c;
