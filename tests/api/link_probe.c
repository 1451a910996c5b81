/* A plain C program, linked in each of the ways weir can be linked: the libc names are weir's, also
 * for libc itself, and no C++ runtime came along. Exits with 0, else with the number of the check.
 */
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/weir.h"

static int find_cxx_runtime(struct dl_phdr_info *info, size_t bytes, void *unused)
{
    (void)bytes;
    (void)unused;
    return strstr(info->dlpi_name, "libstdc++") != NULL ||
           strstr(info->dlpi_name, "libc++") != NULL;
}

static void *allocate_in_thread(void *unused)
{
    (void)unused;
    return malloc(300000);
}

/* Whether a process that frees what is not weir's is aborted; its line is not shown. */
static int aborts_foreign_free(void)
{
    static char foreign[64];
    char *volatile ptr = foreign + 16;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        close(STDERR_FILENO);
        free(ptr);
        _exit(0);
    }
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

int main(void)
{
    void *block = malloc(100);
    if (weir_owns(block) != 1) {
        return 1;
    }
    block = realloc(block, 5000);
    if (weir_owns(block) != 1 || malloc_usable_size(block) < 5000) {
        return 2;
    }
    weir_free(block);
    char *copy = strdup("allocated inside libc");
    if (weir_owns(copy) != 1) {
        return 3;
    }
    free(copy);
    FILE *file = fopen("/dev/null", "we");
    if (file == NULL || fprintf(file, "%100000d\n", 1) <= 0 || fclose(file) != 0) {
        return 4;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate_in_thread, NULL) != 0 ||
        pthread_join(thread, &block) != 0 || weir_owns(block) != 1) {
        return 5;
    }
    free(block);
    void *aligned = NULL;
    if (posix_memalign(&aligned, 4096, 100) != 0 || weir_owns(aligned) != 1) {
        return 6;
    }
    free(aligned);
    if (dl_iterate_phdr(find_cxx_runtime, NULL) != 0) {
        return 7;
    }
    if (!aborts_foreign_free()) {
        return 8;
    }
    return 0;
}
