/* weir_bench_trees: binary trees built and torn down, many short-lived ones beside a long-lived
 * one, as compilers and interpreters do. Every node is a block, with a payload of its own size.
 */
#include "harness.h"

struct node {
    struct node *left; /* NULL in a leaf, and then right is too */
    struct node *right;
    uint64_t path; /* where it stands: 1 at the root, then 2n to the left and 2n+1 to the right */
    /* the payload follows */
};

static unsigned long threads = 4;
static unsigned long operations = 20000000;
static unsigned long depth = 10;
static unsigned long kept_depth = 15;
static unsigned long payload_max = 48;
static unsigned long seed = 1;

/* What tells the nodes of one tree from those of the others, and the sizes of their payloads. */
struct kind {
    uint64_t tag; /* of the root's payload; the others' follow from it and the path */
    struct bench_tally *tally;
};

static uint64_t node_tag(const struct kind *kind, uint64_t path)
{
    return kind->tag + path;
}

static size_t payload_bytes(const struct kind *kind, uint64_t path)
{
    uint64_t state = node_tag(kind, path);
    return bench_below(&state, payload_max + 1);
}

static struct node *build(const struct kind *kind, uint64_t path, size_t levels)
{
    size_t payload = payload_bytes(kind, path);
    struct node *node = bench_sound(malloc(sizeof *node + payload), sizeof *node + payload);
    node->path = node_tag(kind, path);
    node->left = NULL;
    node->right = NULL;
    bench_fill(node + 1, payload, node_tag(kind, path));
    kind->tally->made++;
    kind->tally->made_tags += node->path;
    if (levels > 1) {
        struct node *left = build(kind, 2 * path, levels - 1);
        struct node *right = build(kind, 2 * path + 1, levels - 1);
        node->left = left;
        node->right = right;
    }
    return node;
}

/* Checks a node before it follows its links. */
static void tear_down(const struct kind *kind, struct node *node, uint64_t path, size_t levels)
{
    size_t payload = payload_bytes(kind, path);
    if (node == NULL || node->path != node_tag(kind, path) ||
        (node->left == NULL) != (levels == 1) || (node->right == NULL) != (levels == 1) ||
        !bench_holds_prefix(node + 1, payload, payload, node->path))
        bench_fail("a node of %zu bytes does not hold what was written", sizeof *node + payload);
    if (levels > 1) {
        tear_down(kind, node->left, 2 * path, levels - 1);
        tear_down(kind, node->right, 2 * path + 1, levels - 1);
    }
    kind->tally->ended++;
    kind->tally->ended_tags += node->path;
    free(node);
}

static size_t nodes_of(size_t levels)
{
    return ((size_t)1 << levels) - 1;
}

/* Short-lived trees of one thread. */
static size_t trees(void)
{
    return operations / threads / nodes_of(depth);
}

static void run_trees(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    struct bench_tally tally = {.made = 0};
    uint64_t first = bench_first_tag(thread) + seed;
    struct kind kept = {.tag = first, .tally = &tally};
    struct node *kept_root = build(&kept, 1, kept_depth);
    for (size_t i = 1; i <= trees(); i++) {
        struct kind kind = {.tag = first + (i << 24), .tally = &tally};
        tear_down(&kind, build(&kind, 1, depth), 1, depth);
    }
    tear_down(&kept, kept_root, 1, kept_depth);
    ((struct bench_tally *)context)[thread] = tally;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "nodes in short-lived trees, by all threads together (rounded down to whole trees)"},
        {"depth", &depth, 1, 22, NULL, NULL, "levels of a short-lived tree"},
        {"kept-depth", &kept_depth, 1, 22, NULL, NULL, "levels of each thread's long-lived tree"},
        {"payload-max", &payload_max, 0, 1ul << 20, NULL, NULL, "greatest payload in bytes"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of the payloads"},
    };
    bench_options(argc, argv,
                  "Builds binary trees and tears them down.\n"
                  "An operation is one node allocated and freed.",
                  options, BENCH_LEN(options));
    struct bench_tally *tallies = bench_map(threads, sizeof *tallies);
    double seconds = bench_run((unsigned)threads, 1, run_trees, tallies);
    size_t nodes = threads * (trees() * nodes_of(depth) + nodes_of(kept_depth));
    bench_settle(tallies, threads, nodes);
    bench_metric("trees", "throughput", (double)nodes / seconds, "ops/s");
    return 0;
}
