/* The program that options_test starts with an environment: it uses every range, prints nothing
 * itself and exits with 0. Not linked with cmocka, so that weir alone can write to stderr. */
#include <stddef.h>

#include "family.h"

static int use(size_t size)
{
    char *block = t_malloc(size);
    if (block == NULL) {
        return 0;
    }
    block[0] = 1;
    block[size - 1] = 1;
    t_free(block);
    return 1;
}

int main(void)
{
    static const size_t sizes[] = {1, 100, 5000, 40000, 100 * 1024, 512 * 1024, 40 * 1024 * 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (!use(sizes[i])) {
            return 1;
        }
    }
    return 0;
}
