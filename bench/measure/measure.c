/* weir_bench_measure: runs one command, with a malloc preloaded if asked, and writes down what the
 * kernel says it used. For `compare`, which is too big to be the parent itself: a process starts
 * with the peak RSS of the one that it was forked from.
 *
 * The command leads a process group of its own. At the time limit, or on SIGTERM, the group gets
 * SIGTERM, after the grace SIGKILL. Whatever the command leaves behind becomes a child of this
 * process and is killed, so nothing outlives a run. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { status_usage = 2, status_cannot_execute = 127 };

struct options {
    const char *report;  /* file for the result; required */
    const char *preload; /* library, or NULL */
    double timeout_s;
    double grace_s; /* from SIGTERM to SIGKILL */
    char **command;
};

static const char usage[] =
    "usage: weir_bench_measure --report FILE [--option value ...] COMMAND [ARGUMENT ...]\n"
    "  --report   file for the result, lines of NAME VALUE\n"
    "  --preload  library for LD_PRELOAD of the command, default none\n"
    "  --timeout  seconds until the command is told to end, default 60\n"
    "  --grace    seconds from there until it is killed, default 30\n";

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void fail_usage(const char *what, const char *which)
{
    fprintf(stderr, "weir_bench_measure: %s%s\n", what, which);
    exit(status_usage);
}

static double parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value > 0 && value <= 86400))
        fail_usage("no number of seconds: ", text);
    return value;
}

static struct options parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"report", required_argument, NULL, 'r'},  {"preload", required_argument, NULL, 'p'},
        {"timeout", required_argument, NULL, 't'}, {"grace", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    struct options options = {.timeout_s = 60, .grace_s = 30};
    int name;
    while ((name = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        switch (name) {
        case 'r':
            options.report = optarg;
            break;
        case 'p':
            options.preload = optarg;
            break;
        case 't':
            options.timeout_s = parse_seconds(optarg);
            break;
        case 'g':
            options.grace_s = parse_seconds(optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            exit(status_usage); /* getopt_long has said what is wrong */
        }
    }
    if (options.report == NULL || optind == argc)
        fail_usage("--report and a command are required", "");
    options.command = argv + optind;
    return options;
}

static pid_t start(const struct options *options, const sigset_t *signals_before)
{
    pid_t pid = fork();
    if (pid != 0) {
        if (pid > 0)
            setpgid(pid, pid); /* here and in the child: whichever comes first */
        return pid;
    }
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, signals_before, NULL);
    unsetenv("LD_PRELOAD");
    if (options->preload != NULL)
        setenv("LD_PRELOAD", options->preload, 1);
    execvp(options->command[0], options->command);
    fprintf(stderr, "weir_bench_measure: cannot execute %s: %s\n", options->command[0],
            strerror(errno));
    _exit(status_cannot_execute);
}

/* Waits for the command; ends it at the limits. Returns whether it was ended from here. */
static bool wait_for(const struct options *options, pid_t pid, const sigset_t *signals, int *status,
                     struct rusage *used)
{
    double limit_s = now_s() + options->timeout_s;
    bool told = false;
    bool killed = false;
    while (wait4(pid, status, WNOHANG, used) == 0) {
        double left_s = limit_s - now_s();
        struct timespec pause = {.tv_sec = 3600};
        if (!killed && left_s < 3600) {
            left_s = left_s > 0 ? left_s : 0;
            pause.tv_sec = (time_t)left_s;
            pause.tv_nsec = (long)((left_s - (double)pause.tv_sec) * 1e9);
        }
        int caught = sigtimedwait(signals, NULL, &pause);
        bool past = caught == -1 && errno == EAGAIN;
        if (!told && (past || caught == SIGTERM || caught == SIGINT)) {
            told = true;
            limit_s = now_s() + options->grace_s;
            kill(-pid, SIGTERM);
        } else if (told && !killed && past) {
            killed = true;
            kill(-pid, SIGKILL);
        }
    }
    return told;
}

/* Kills what the command left behind: its group, and those whose parent became this process. */
static void reap(pid_t group)
{
    kill(-group, SIGKILL);
    for (;;) {
        FILE *children = fopen("/proc/thread-self/children", "r");
        int pid;
        while (children != NULL && fscanf(children, "%d", &pid) == 1)
            kill(pid, SIGKILL);
        if (children != NULL)
            fclose(children);
        if (waitpid(-1, NULL, 0) == -1 && errno == ECHILD)
            return;
    }
}

static bool write_report(const char *path, bool ended, int status, double wall_s,
                         const struct rusage *used)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    const char *how = ended ? "timeout" : WIFEXITED(status) ? "exit" : "signal";
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    fprintf(file, "how %s\ncode %d\nwall %.6f\nuser %.6f\nsys %.6f\npeak_rss %ld\n", how, code,
            wall_s, seconds_of(used->ru_utime), seconds_of(used->ru_stime), used->ru_maxrss * 1024);
    fprintf(file, "minor_faults %ld\nmajor_faults %ld\n", used->ru_minflt, used->ru_majflt);
    fprintf(file, "voluntary_switches %ld\ninvoluntary_switches %ld\n", used->ru_nvcsw,
            used->ru_nivcsw);
    return fclose(file) == 0;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    sigset_t signals, signals_before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &signals_before);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    double start_s = now_s();
    pid_t pid = start(&options, &signals_before);
    if (pid < 0) {
        fprintf(stderr, "weir_bench_measure: no process: %s\n", strerror(errno));
        return 1;
    }
    int status = 0;
    struct rusage used = {0};
    bool ended = wait_for(&options, pid, &signals, &status, &used);
    double wall_s = now_s() - start_s;
    reap(pid);
    if (!write_report(options.report, ended, status, wall_s, &used)) {
        fprintf(stderr, "weir_bench_measure: cannot write %s: %s\n", options.report,
                strerror(errno));
        return 1;
    }
    return 0;
}
