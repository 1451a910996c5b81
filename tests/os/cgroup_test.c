/* The memory limit of a control group, from files as the kernel writes them, under a directory that
 * stands for the root.
 */
#include "os/cgroup.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

/* Makes a file and the directories that it lies in. */
static void put(const char *path, const char *text)
{
    char full[512];
    (void)snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
            *p = '/';
        }
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "%s/weir_cgroup_XXXXXX", P_tmpdir);
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static size_t limit(void)
{
    errno = ERRNO_UNUSED;
    size_t bytes = wr_cgroup_memory_limit(root);
    assert_int_equal(errno, ERRNO_UNUSED);
    return bytes;
}

static const char mounts_v2[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

static const char mounts_v1[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "31 22 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw shared:9 master:2 - cgroup cgroup rw,memory\n";

static void test_limit_without_proc_is_none(void **state)
{
    (void)state;
    assert_int_equal(limit(), 0);
    put("/proc/self/cgroup", "0::/service\n");
    assert_int_equal(limit(), 0);
}

static void test_limit_of_version_2_is_read_from_the_group(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/service/worker\n");
    put("/proc/self/mountinfo", mounts_v2);
    put("/sys/fs/cgroup/service/worker/memory.max", "67108864\n");
    assert_int_equal(limit(), 64 * MIB);
}

static void test_limit_of_version_2_is_the_smallest_up_to_the_root(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/service/worker\n");
    put("/proc/self/mountinfo", mounts_v2);
    put("/sys/fs/cgroup/service/worker/memory.max", "max\n");
    assert_int_equal(limit(), 0);
    put("/sys/fs/cgroup/service/memory.max", "33554432\n");
    assert_int_equal(limit(), 32 * MIB);
    put("/sys/fs/cgroup/service/worker/memory.max", "67108864\n");
    assert_int_equal(limit(), 32 * MIB);
    put("/sys/fs/cgroup/service/worker/memory.max", "1048576\n");
    assert_int_equal(limit(), 1 * MIB);
}

static void test_limit_of_version_2_in_the_root_group_is_none(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", mounts_v2);
    assert_int_equal(limit(), 0);
    /* In a container the group seems to be the root, and has the container's limit. */
    put("/sys/fs/cgroup/memory.max", "8388608\n");
    assert_int_equal(limit(), 8 * MIB);
}

static void test_limit_of_version_1_is_the_smallest_up_to_the_root(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpu,cpuacct:/else\n4:hugetlb,memory:/service/worker\n0::/other\n");
    put("/proc/self/mountinfo", mounts_v1);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/service/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/service/worker/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit(), 0);
    put("/sys/fs/cgroup/memory/service/memory.limit_in_bytes", "67108864\n");
    assert_int_equal(limit(), 64 * MIB);
    put("/sys/fs/cgroup/memory/service/worker/memory.limit_in_bytes", "16777216\n");
    assert_int_equal(limit(), 16 * MIB);
}

static void test_limit_of_both_versions_is_the_smaller(void **state)
{
    (void)state;
    char mounts[1024];
    (void)snprintf(mounts, sizeof mounts, "%s%s", mounts_v1,
                   "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "4:memory:/a\n0::/b\n");
    put("/proc/self/mountinfo", mounts);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n");
    assert_int_equal(limit(), 64 * MIB);
    put("/sys/fs/cgroup/unified/b/memory.max", "33554432\n");
    assert_int_equal(limit(), 32 * MIB);
}

static void test_limit_where_a_part_of_the_hierarchy_is_mounted_is_found_below_it(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/docker/abc/worker\n");
    put("/proc/self/mountinfo", "30 22 0:26 /docker/abc /cg rw - cgroup2 cgroup2 rw\n");
    put("/cg/worker/memory.max", "max\n");
    put("/cg/memory.max", "4194304\n");
    assert_int_equal(limit(), 4 * MIB);
}

static void test_limit_of_a_group_that_is_not_seen_is_that_of_the_mount(void **state)
{
    (void)state;
    put("/proc/self/mountinfo", "30 22 0:26 /docker/abc /cg rw - cgroup2 cgroup2 rw\n");
    put("/cg/memory.max", "4194304\n");
    put("/cg/x/memory.max", "1048576\n");
    put("/proc/self/cgroup", "0::/docker/abcdef/x\n");
    assert_int_equal(limit(), 4 * MIB);
    put("/proc/self/cgroup", "0::/../../elsewhere\n");
    assert_int_equal(limit(), 4 * MIB);
}

static void test_limit_of_a_mount_point_with_a_space_is_found(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/s\n");
    put("/proc/self/mountinfo", "30 22 0:26 / /my\\040groups rw - cgroup2 none rw\n");
    put("/my groups/s/memory.max", "2097152\n");
    assert_int_equal(limit(), 2 * MIB);
}

static void test_limit_passes_over_lines_that_are_too_long_or_no_mounts(void **state)
{
    (void)state;
    static char mounts[8192];
    memset(mounts, 'x', 5000);
    (void)snprintf(mounts + 5000, sizeof mounts - 5000, "\n\n - \n30 22 0:26 /\nshort\n%s",
                   mounts_v2);
    put("/proc/self/cgroup", "nonsense\n\n1\n7:memory\n0::/s"); /* the last line has no end */
    put("/proc/self/mountinfo", mounts);
    put("/sys/fs/cgroup/s/memory.max", "2097152");
    assert_int_equal(limit(), 2 * MIB);
}

static void test_limit_that_is_no_number_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "\n", "max", "-1\n", "99999999999999999999999999\n"};
    put("/proc/self/cgroup", "0::/s\n");
    put("/proc/self/mountinfo", mounts_v2);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        put("/sys/fs/cgroup/s/memory.max", bad[i]);
        assert_int_equal(limit(), 0);
    }
}

static void test_limit_of_this_process_can_be_asked(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    (void)wr_cgroup_memory_limit("");
    assert_int_equal(errno, ERRNO_UNUSED);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_limit_without_proc_is_none),
        CASE(test_limit_of_version_2_is_read_from_the_group),
        CASE(test_limit_of_version_2_is_the_smallest_up_to_the_root),
        CASE(test_limit_of_version_2_in_the_root_group_is_none),
        CASE(test_limit_of_version_1_is_the_smallest_up_to_the_root),
        CASE(test_limit_of_both_versions_is_the_smaller),
        CASE(test_limit_where_a_part_of_the_hierarchy_is_mounted_is_found_below_it),
        CASE(test_limit_of_a_group_that_is_not_seen_is_that_of_the_mount),
        CASE(test_limit_of_a_mount_point_with_a_space_is_found),
        CASE(test_limit_passes_over_lines_that_are_too_long_or_no_mounts),
        CASE(test_limit_that_is_no_number_is_none),
        CASE(test_limit_of_this_process_can_be_asked),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
