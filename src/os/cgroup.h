/* The memory limit of the control group that the process runs in, versions 1 and 2.
 *
 * Found by /proc/self/cgroup (which group) and /proc/self/mountinfo (where its files are), read at
 * each call, without allocation, in a few KiB of stack. Lines and paths of more than 1 KiB are
 * passed over. Keeps errno. Threads: any. Sources: cgroups(7), proc(5), the kernel's
 * Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst. */
#ifndef WR_OS_CGROUP_H
#define WR_OS_CGROUP_H

#include "base/compiler.h"

/* The smallest limit of the process's group and all groups above it that can be seen, in bytes; 0
 * if there is none. `root` is put before every path: "" but in tests. */
size_t wr_cgroup_memory_limit(const char *root);

#endif
