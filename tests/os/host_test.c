/* os/host: each fact against another source of it. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "os/host.h"

#define RESIDENT_KIB ((size_t)(48 * 1024))
#define NEAR_KIB     ((size_t)(8 * 1024)) /* the kernel counts in batches */

static void test_page_bytes_is_what_libc_says(void **state)
{
    (void)state;
    size_t page_bytes = wr_host_page_bytes();
    assert_int_equal(page_bytes, sysconf(_SC_PAGESIZE));
    assert_int_equal(page_bytes & (page_bytes - 1), 0);
    assert_true(page_bytes >= 4096 && page_bytes <= WR_SLICE_BYTES);
}

static void test_secure_mode_of_an_ordinary_program_is_off(void **state)
{
    (void)state;
    assert_false(wr_host_is_secure());
}

static void test_environment_is_that_of_libc(void **state)
{
    (void)state;
    assert_ptr_equal(wr_host_environment(), environ);
    assert_int_equal(setenv("HOST_TEST_VARIABLE", "42", 1), 0);
    size_t found = 0;
    for (char *const *at = wr_host_environment(); *at != NULL; at++) {
        found += strcmp(*at, "HOST_TEST_VARIABLE=42") == 0;
    }
    assert_int_equal(found, 1);
}

static void test_environment_not_there_is_null(void **state)
{
    (void)state;
    char **kept = environ;
    environ = NULL;
    char *const *seen = wr_host_environment();
    environ = kept;
    assert_null(seen);
}

struct image {
    uintptr_t start;
    uintptr_t end; /* one past its last page */
};

/* Where the program interpreter lies, as it tells itself. */
static int find_linker(struct dl_phdr_info *info, size_t bytes, void *found)
{
    (void)bytes;
    if (strstr(info->dlpi_name, "/ld-linux") == NULL && strstr(info->dlpi_name, "/ld.so") == NULL) {
        return 0;
    }
    struct image *image = found;
    uintptr_t end = 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_vaddr + segment->p_memsz > end) {
            end = segment->p_vaddr + segment->p_memsz;
        }
    }
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    image->start = info->dlpi_addr;
    image->end = (info->dlpi_addr + end + page_bytes - 1) / page_bytes * page_bytes;
    return 1;
}

static void test_linker_memory_is_its_image_to_the_end_of_its_last_page(void **state)
{
    (void)state;
    struct image image = {0, 0};
    dl_iterate_phdr(find_linker, &image);
    assert_true(image.start != 0 && image.end > image.start);
    errno = ERRNO_UNUSED;
    assert_false(wr_host_is_linker_memory(image.start - 1));
    assert_true(wr_host_is_linker_memory(image.start));
    assert_true(wr_host_is_linker_memory(image.start + (image.end - image.start) / 2));
    assert_true(wr_host_is_linker_memory(image.end - 1));
    assert_false(wr_host_is_linker_memory(image.end));
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_linker_memory_is_nothing_of_the_program(void **state)
{
    (void)state;
    static int datum;
    int local = 0;
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    assert_false(wr_host_is_linker_memory((uintptr_t)&datum));
    assert_false(wr_host_is_linker_memory((uintptr_t)&local));
    assert_false(wr_host_is_linker_memory((uintptr_t)&find_linker));
    assert_false(wr_host_is_linker_memory((uintptr_t)environ));
    assert_false(wr_host_is_linker_memory((uintptr_t)mapped));
    assert_false(wr_host_is_linker_memory(0));
    assert_false(wr_host_is_linker_memory(16));
    assert_false(wr_host_is_linker_memory(UINTPTR_MAX));
    munmap(mapped, 4096);
}

/* Memory with its page frames; the kernel fills it, so that no sanitizer adds a shadow. */
static void *map_resident(void)
{
    void *memory = mmap(NULL, RESIDENT_KIB * KIB, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void follow_resident_memory(void *unused)
{
    (void)unused;
    size_t before_kib, full_kib, after_kib, peak_before_kib, peak_kib, peak_after_kib;
    errno = ERRNO_UNUSED;
    CHECK(wr_host_resident_kib(&before_kib, &peak_before_kib));
    CHECK(errno == ERRNO_UNUSED);
    CHECK(before_kib > 0 && peak_before_kib + NEAR_KIB >= before_kib);
    void *memory = map_resident();
    CHECK(wr_host_resident_kib(&full_kib, &peak_kib));
    CHECK(full_kib + NEAR_KIB >= before_kib + RESIDENT_KIB);
    CHECK(full_kib <= before_kib + RESIDENT_KIB + NEAR_KIB);
    CHECK(peak_kib + NEAR_KIB >= full_kib);
    munmap(memory, RESIDENT_KIB * KIB);
    CHECK(wr_host_resident_kib(&after_kib, &peak_after_kib));
    CHECK(after_kib <= before_kib + NEAR_KIB);
    CHECK(peak_after_kib + NEAR_KIB >= full_kib);
}

static void test_resident_memory_follows_use_and_the_peak_stays(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(follow_resident_memory, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_resident_peak_is_that_of_getrusage(void **state)
{
    (void)state;
    size_t now_kib, peak_kib;
    struct rusage usage;
    assert_true(wr_host_resident_kib(&now_kib, &peak_kib));
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    /* The larger of the process's own peak and that of the program it was before execve. */
    assert_true(peak_kib <= (size_t)usage.ru_maxrss + NEAR_KIB);
    assert_true(now_kib <= peak_kib + NEAR_KIB);
}

static void ask_without_descriptors(void *unused)
{
    (void)unused;
    struct rlimit usual;
    size_t now_kib = 1, peak_kib = 1;
    CHECK(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    struct rlimit none = {0, usual.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    errno = ERRNO_UNUSED;
    CHECK(!wr_host_resident_kib(&now_kib, &peak_kib));
    CHECK(errno == ERRNO_UNUSED);
    CHECK(now_kib == 0 && peak_kib == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0); /* coverage is written at the end */
}

static void test_resident_memory_unreadable_is_false_and_zero(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(ask_without_descriptors, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void ask_under_misleading_name(void *name)
{
    size_t now_kib, peak_kib;
    CHECK(prctl(PR_SET_NAME, name) == 0);
    CHECK(wr_host_resident_kib(&now_kib, &peak_kib));
    CHECK(now_kib > 100 && now_kib != 12345);
    CHECK(peak_kib > 100 && peak_kib != 12345);
}

static void test_resident_memory_is_no_number_in_the_process_name(void **state)
{
    (void)state;
    static char names[][16] = {"VmRSS: 12345", "VmHWM:\t12345", "VmRSS:", "\nVmHWM: 12345"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct outcome outcome;
        run_child(ask_under_misleading_name, names[i], &outcome);
        assert_clean_exit(&outcome);
    }
}

static void ask_for_own_id(void *parent)
{
    CHECK(wr_host_process_id() == getpid());
    CHECK(wr_host_process_id() != *(long *)parent);
}

static void test_process_id_of_a_fork_is_the_childs(void **state)
{
    (void)state;
    struct outcome outcome;
    long parent = wr_host_process_id();
    assert_int_equal(parent, getpid());
    run_child(ask_for_own_id, &parent, &outcome);
    assert_clean_exit(&outcome);
}

static void test_yield_returns_and_keeps_errno(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    wr_host_yield();
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_memory_of_the_machine_is_what_sysconf_says(void **state)
{
    (void)state;
    size_t pages = (size_t)sysconf(_SC_PHYS_PAGES);
    assert_int_equal(wr_host_memory_bytes(), pages * wr_host_page_bytes());
}

static void *thread_mark(void *unused)
{
    (void)unused;
    return (void *)wr_host_thread_mark();
}

static void test_thread_mark_tells_threads_apart_and_leaves_two_bits(void **state)
{
    (void)state;
    pthread_t thread;
    void *other;
    uintptr_t mine = wr_host_thread_mark();
    assert_int_equal(pthread_create(&thread, NULL, thread_mark, NULL), 0);
    assert_int_equal(pthread_join(thread, &other), 0);
    assert_int_equal(wr_host_thread_mark(), mine);
    assert_true(mine != 0 && mine % 4 == 0);
    assert_true((uintptr_t)other != mine);
}

static void test_read_of_a_file_that_is_not_there_gives_nothing_and_keeps_errno(void **state)
{
    (void)state;
    char text[8];
    errno = ERRNO_UNUSED;
    int file = wr_host_open("/nowhere/at/all");
    assert_int_equal(file, -1);
    assert_int_equal(wr_host_read(file, text, sizeof text), 0);
    wr_host_close(file);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_read_goes_on_where_the_last_one_ended(void **state)
{
    (void)state;
    char first[8];
    char rest[4096];
    int file = wr_host_open("/proc/self/status");
    assert_true(file >= 0);
    assert_int_equal(wr_host_read(file, first, 5), 5);
    assert_memory_equal(first, "Name:", 5);
    assert_true(wr_host_read(file, rest, sizeof rest) > 100);
    assert_int_equal(rest[0], '\t');
    assert_int_equal(wr_host_read(file, rest, sizeof rest), 0);
    wr_host_close(file);
}

static void test_huge_pages_of_a_system_without_the_file_are_not_always(void **state)
{
    (void)state;
    static char long_root[400];
    memset(long_root, 'x', sizeof long_root - 1);
    assert_false(wr_host_huge_pages_always("/nowhere/at/all"));
    assert_false(wr_host_huge_pages_always(long_root));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_bytes_is_what_libc_says),
        cmocka_unit_test(test_secure_mode_of_an_ordinary_program_is_off),
        cmocka_unit_test(test_environment_is_that_of_libc),
        cmocka_unit_test(test_environment_not_there_is_null),
        cmocka_unit_test(test_linker_memory_is_its_image_to_the_end_of_its_last_page),
        cmocka_unit_test(test_linker_memory_is_nothing_of_the_program),
        cmocka_unit_test(test_resident_memory_follows_use_and_the_peak_stays),
        cmocka_unit_test(test_resident_peak_is_that_of_getrusage),
        cmocka_unit_test(test_resident_memory_unreadable_is_false_and_zero),
        cmocka_unit_test(test_resident_memory_is_no_number_in_the_process_name),
        cmocka_unit_test(test_process_id_of_a_fork_is_the_childs),
        cmocka_unit_test(test_yield_returns_and_keeps_errno),
        cmocka_unit_test(test_memory_of_the_machine_is_what_sysconf_says),
        cmocka_unit_test(test_thread_mark_tells_threads_apart_and_leaves_two_bits),
        cmocka_unit_test(test_read_of_a_file_that_is_not_there_gives_nothing_and_keeps_errno),
        cmocka_unit_test(test_read_goes_on_where_the_last_one_ended),
        cmocka_unit_test(test_huge_pages_of_a_system_without_the_file_are_not_always),
    };
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
