"""What bench/compare runs: one row per program, arguments and number of threads.

A command is written as for a shell: `name ...` is a program of the build's bench directory,
`name.sh ...` one of bench/apps/. In it {threads} stands for the number of threads, {series} for a
file that takes the RSS over time, {traces} for the directory of traces, {live} for the largest heap
that the machine has room for. An argument in `quick` takes
the place of the one of the same name. Rows are sized to take 1 to 3 s a run on a small machine,
those of bench/apps/ about 5 s of load.
"""
import os
import shlex
from dataclasses import dataclass

FIGURES = ["micro", "workloads", "latency", "scaling", "server", "apps"]
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Case:
    figure: str
    name: str
    run: str
    quick: str
    threads: int = 0  # 0: the case has no such number
    timeout_s: float = 60
    grace_s: float = 30  # from being told to end to being killed
    score: str = ""  # pattern of the metrics that are the case's time; default: by their units

    @property
    def label(self):
        return f"{self.name} t{self.threads}" if self.threads else self.name

    @property
    def takes_library(self):
        """Whether the program preloads the library itself, for its server alone."""
        return self.run.split()[0].endswith(".sh")


def rows(figure, name, run, quick="", threads=(0,), **more):
    return [Case(figure, name, run, quick, count, **more) for count in threads]


def micro(name, pattern, quick_pattern=""):
    """Benchmarks of weir_bench_micro, on the C library's names."""
    return rows("micro", name, "weir_bench_micro --metrics --family libc --threads 16 "
                f"--seconds 0.01 --benchmark_filter={pattern}", "--seconds 0.001 --threads 4 "
                f"--benchmark_filter={quick_pattern or pattern}", timeout_s=120)


def workload(name, operations, threads=(2, 16), options="", program=""):
    """A program of bench/workloads/; operations are those of all threads together."""
    return rows("workloads", name, f"weir_bench_{program or name} --operations {operations} "
                + (options or "--threads {threads}"), f"--operations {operations // 8}", threads)


def app(name, figure="apps"):
    return rows(figure, name, f"{name}.sh --seconds 5", "--seconds 1", timeout_s=180)


CASES = [
    *micro("pair", "malloc_free/"),
    *micro("batch", "batch_"),
    *micro("calloc", "calloc/"),
    # Verifying a MiB that grew by lines takes seconds.
    *micro("realloc", "realloc_", "'realloc_(line/4096|line/65536|double)'"),
    *micro("aligned", "aligned_"),
    *micro("usable_size", "usable_size/"),
    *micro("first_touch", "first_touch"),
    *micro("thread_birth", "thread_birth/"),
    *micro("remote_free", "remote_free/"),

    *workload("larson", 24000000),
    # The number is that of producers; there are always two consumers.
    *workload("prodcons", 4000000, (3, 14), "--producers {threads} --consumers 2"),
    *workload("sharing", 2000000),
    *workload("bursts", 20000000),
    *workload("replace", 6000000, options="--threads {threads} --csv {series}"),
    *workload("trees", 60000000),
    *workload("append", 20000000),
    *workload("buffers", 2000),
    # The number is that of copies of the trace.
    *workload("replay_python3", 20000000, program="replay",
              options="--trace {traces}/python3.trace --copies {threads}"),
    *workload("replay_sqlite3", 80000000, program="replay",
              options="--trace {traces}/sqlite3.trace --copies {threads}"),

    # The median is about the clock's resolution, and the largest are the machine's.
    *rows("latency", "latency", "weir_bench_latency --threads {threads} --seconds 2",
          "--seconds 0.3", (2, 16, 64), score=r"/p99(\.9)?$"),

    *rows("scaling", "live_heap", "weir_bench_scaling --part live --live {live} --seconds 0.2",
          "--live 64M --seconds 0.05", timeout_s=180, score="^scaling/own/"),
    *rows("scaling", "threads", "weir_bench_scaling --part threads --threads 64 --seconds 0.3",
          "--seconds 0.05"),

    *app("example_server", "server"),

    *app("redis"), *app("memcached"), *app("sqlite3"), *app("python3"), *app("clang"),
    *app("postgresql"), *app("nginx"),
]


def live_bytes():
    """A power of two, at most two fifths of the memory and at most 8 GiB."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(8 << 30, 1 << max(26, (memory * 2 // 5).bit_length() - 1))


def merged(run, quick):
    """The words of `run`, with the values that `quick` has for the same options; each is two words,
    or one with an equals sign."""
    words, changes = shlex.split(run), shlex.split(quick)
    while changes:
        option, equals, _ = changes[0].partition("=")
        length = 1 if equals else 2
        at = next((i for i, word in enumerate(words) if word.split("=")[0] == option), len(words))
        words[at:at + length] = changes[:length]
        del changes[:length]
    return words


def command(case, quick, bin_directory, library, series):
    """The words that start a case."""
    words = merged(case.run, case.quick) if quick else shlex.split(case.run)
    places = {"{threads}": str(case.threads), "{series}": series, "{live}": str(live_bytes()),
              "{traces}": os.path.join(HERE, "workloads", "traces")}
    for mark, value in places.items():
        words = [word.replace(mark, value) for word in words]
    if case.takes_library:
        return [os.path.join(HERE, "apps", words[0])] + words[1:] + [
            "--bin", bin_directory, "--preload", library]
    return [os.path.join(bin_directory, words[0])] + words[1:]
