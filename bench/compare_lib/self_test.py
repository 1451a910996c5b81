"""compare --self-test: the statistics on known data, and a comparison of stub programs that crash,
hang, print garbage and leave processes behind, on libraries of which one does not exist."""
import argparse
import math
import os
import resource
import shutil
import stat
import tempfile
import time

import suite

from . import allocators, measure, records, schedule, stats

TIMEOUT_S, GRACE_S = 0.3, 0.2
# A stub is told which library it runs on by LD_PRELOAD, as a real program is.
STUBS = {
    # "impostor" is a library that the stub does not say it has.
    "weir_bench_which": 'case $LD_PRELOAD in *impostor*) echo /other.so ;; '
                        '*) echo "$LD_PRELOAD" ;; esac',
    "good": 'case $LD_PRELOAD in *slow*) rate=50 ;; *) rate=100 ;; esac\n'
            'echo "for people"\necho "metric good/rate $rate ops/s"\n'
            'echo "metric good/memory 3e6 bytes"',
    "crash": 'case $LD_PRELOAD in *slow*) kill -SEGV $$ ;; esac; echo "metric crash/rate 5 ops/s"',
    "hang": 'trap "" TERM\nwhile :; do sleep 1; done',
    "garbage": 'echo "metric garbage/rate many ops/s"',
    "silent": 'exit 0',
    "wrong": 'echo "wrong: block 7 does not hold what was written" >&2; exit 1',
    "stray": 'setsid sleep 1000 >&- 2>&- & echo $! >"$STRAY_FILE"\n'
             'echo "metric stray/rate 1 ops/s"',
    "percentiles": 'for p in p50 p99 max; do echo "metric lat/malloc/$p 20 ns"; done\n'
                   'for t in 1 2 4; do echo "metric s/threads:$t $t ops/s"; done\n'
                   'printf "seconds,live_bytes,rss_bytes\\n0,1,2000000\\n1,1,3000000\\n" >"$2"',
}


def near(value, expected):
    return math.isclose(value, expected, rel_tol=1e-9)


def check_statistics():
    assert near(stats.median([3, 1, 2]), 2) and near(stats.median([4, 1, 2, 3]), 2.5)
    assert near(stats.quantile([1, 2, 3, 4, 5], 0.25), 2) and near(stats.quantile([7], 0.75), 7)
    assert near(stats.mad([1, 1, 2, 2, 4, 6, 9]), 1)
    assert near(stats.relative_spread([8, 10, 12]), 0.2) and stats.relative_spread([0, 0]) == 0
    assert near(stats.geometric_mean([1, 8]), math.sqrt(8)) and stats.geometric_mean([]) is None


def check_parsing():
    good, wrong = measure.parse_metrics("hello\nmetric a/b:1 2.5 ns\nmetric c 3 bytes\n")
    assert wrong is None and good == {"a/b:1": (2.5, "ns"), "c": (3.0, "bytes")}
    for line in ("metric a", "metric A 1 ns", "metric a nan ns", "metric a 1 m",
                 "metric a 1 ns\nmetric a 2 ns"):
        assert measure.parse_metrics(line)[1], line
    assert measure.without_places("no /a/b/c.so in /usr/lib/x") == "no .../c.so in /usr/lib/x"
    assert schedule.rotated([1, 2, 3], 4) == [2, 3, 1]
    assert schedule.duration(61) == "1 min 1 s"
    assert suite.merged("p --seconds 5 --x=1", "--seconds 1 --x=2 --y 3") == [
        "p", "--seconds", "1", "--x=2", "--y", "3"]
    for against in ("nosuch", "a=/x,a=/y", "weir=/x", "a b=/x"):
        try:
            allocators.parse(against, "/w")
        except ValueError:
            continue
        raise AssertionError(f"--against {against} was taken")
    assert allocators.parse("x=/a b.so", "/w")[1].error


def check_suite():
    labels = [(case.figure, case.label) for case in suite.CASES]
    assert len(labels) == len(set(labels)), "two cases of one name"
    assert all(case.figure in suite.FIGURES for case in suite.CASES)
    for case in suite.CASES:
        for quick in (False, True):
            words = suite.command(case, quick, "/bin", "/lib.so", "/series")
            assert not any("{" in word for word in words), words
            assert not case.takes_library or os.access(words[0], os.X_OK), words[0]


def make_stubs(directory, measure_program):
    for name, text in STUBS.items():
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    os.symlink(os.path.abspath(measure_program), os.path.join(directory, "weir_bench_measure"))


def stub_cases():
    def case(name, run=None, figure="workloads", threads=0, **more):
        return suite.Case(figure, name, run or name, "", threads, **more)
    return [case("good"), case("crash"), case("hang", timeout_s=TIMEOUT_S, grace_s=GRACE_S),
            case("garbage"), case("silent"), case("wrong"), case("stray"), case("absent"),
            case("good", figure="server", threads=2), case("good", figure="server", threads=4),
            case("percentiles", "percentiles --csv {series}", figure="latency")]


def check_comparison(compare, make_report, bin_directory, scratch):
    """Runs the stubs on four libraries; the results are those that the stubs were made to give."""
    stubs, out = os.path.join(scratch, "bin"), os.path.join(scratch, "out")
    os.mkdir(stubs)
    os.makedirs(os.path.join(out, "series"))
    make_stubs(stubs, os.path.join(bin_directory, "weir_bench_measure"))
    libc = allocators.find_library("libc.so.6")
    assert libc, "the dynamic linker knows no libc.so.6"
    names = {}
    for name in ("fast", "slow", "impostor"):
        names[name] = os.path.join(scratch, f"{name}.so")
        os.symlink(libc, names[name])
    os.environ["STRAY_FILE"] = os.path.join(scratch, "stray.pid")
    chosen = allocators.parse(f"slow={names['slow']},impostor={names['impostor']},"
                              f"missing={scratch}/nothing.so", names["fast"])
    options = argparse.Namespace(quick=False, minutes=None, rounds=2, instructions=False)
    assert compare(out, chosen, stub_cases(), options, stubs, quiet=True) is False
    summary = make_report(out)
    check_cells(summary)
    check_files(out)
    with open(os.environ["STRAY_FILE"], encoding="utf-8") as file:
        assert not os.path.exists(f"/proc/{file.read().strip()}"), "a process was left behind"
    return out


def check_cells(summary):
    def failure(name, allocator):
        return summary.failure(("workloads", name, 0), allocator) or ""
    good = ("workloads", "good", 0)
    assert summary.allocators == ["weir", "slow"], summary.allocators
    assert not failure("good", "slow") and not failure("good", "weir"), \
        failure("good", "slow") + failure("good", "weir")
    assert near(summary.time_ratio(good, "slow"), 2) and near(summary.time_ratio(good, "weir"), 1)
    assert len(summary.values(good, "slow", "good/rate")) == 2
    peak = summary.median(good, "weir", "run/peak_rss")
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0 < peak < own_peak, f"a run's peak RSS is {peak:.0f}, compare's own {own_peak}"
    assert failure("crash", "slow") == "2 of 2 failed: crash: SIGSEGV", failure("crash", "slow")
    assert not failure("crash", "weir") and summary.time_ratio(
        ("workloads", "crash", 0), "slow") is None
    assert failure("hang", "weir") == "1 of 1 failed: timeout after 0.3 s", "one wait is enough"
    assert "garbage" in failure("garbage", "weir") and "no metric" in failure("silent", "slow")
    assert "status 1: wrong: block 7" in failure("wrong", "weir")
    assert "cannot execute" in failure("absent", "weir")
    assert not failure("stray", "weir")
    assert near(summary.means(summary.keys("workloads"), "slow")[0], math.sqrt(2))


def check_files(out):
    with open(os.path.join(out, "table.md"), encoding="utf-8") as file:
        table = file.read()
    for text in ("**missing was not measured: no file",
                 "**impostor was not measured: does not load",
                 "crash: SIGSEGV", "timeout after", "FAILED", "50 /s (2.00)", "**100 /s (1.00)**"):
        assert text in table, f"{text!r} is not in table.md"
    for name in ("workloads-time.svg", "server-time.svg", "good-good-rate-threads.svg",
                 "percentiles-lat-malloc-percentiles.svg", "percentiles-rss.svg",
                 "percentiles-s-threads.svg"):
        if shutil.which("gnuplot"):
            assert os.path.isfile(os.path.join(out, name)), f"no {name}"
            assert f"]({name})" in table, f"table.md does not show {name}"


def check_partial(make_report, out):
    """A raw.csv that ends in the middle of a line still makes a report."""
    path = os.path.join(out, "raw.csv")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[: len(text) * 2 // 3].rsplit(",", 2)[0])
    assert "workloads" in make_report(out).records.figures
    assert records.read(out).rounds >= 1


def run(compare, make_report, bin_directory):
    """The exit status."""
    start = time.monotonic()
    check_statistics()
    check_parsing()
    check_suite()
    with tempfile.TemporaryDirectory(prefix="weir-compare.") as scratch:
        check_partial(make_report, check_comparison(compare, make_report, bin_directory, scratch))
    print(f"compare: self-test passed in {time.monotonic() - start:.1f} s")
    return 0
