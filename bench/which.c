/* weir_bench_which: prints the path of the object whose malloc this process uses, on one line.
 *
 * The dynamic linker goes on without a library that it cannot preload; this is how a comparison
 * finds that out. Exit status 0, 1 if the object cannot be told, 2 for any argument but --help.
 */
#include "common/options.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    options_read(argc, argv, "prints the path of the object whose malloc the process uses", NULL,
                 0);
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    Dl_info object;
    if (address == NULL || dladdr(address, &object) == 0 || object.dli_fname == NULL) {
        fprintf(stderr, "weir_bench_which: malloc lies in no object\n");
        return 1;
    }
    char *path = realpath(object.dli_fname, NULL);
    puts(path != NULL ? path : object.dli_fname);
    free(path);
    return 0;
}
