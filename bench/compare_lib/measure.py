"""Runs one program once, and reads what it and the kernel say of the run.

The program is started by weir_bench_measure, not from here: a process starts with the peak RSS of
the one that it was forked from, and a Python is large.
"""
import math
import os
import re
import signal
import subprocess
import tempfile

UNITS = ("ops/s", "ns", "s", "bytes", "ratio", "count")
GRACE_S = 30  # for an application benchmark to stop its server
MESSAGE_MAX = 160
TIMEOUT = "timeout"  # how the error of a run begins that did not end in time
# What weir_bench_measure reports, as metrics of every run.
OUTSIDE = {"wall": "s", "user": "s", "sys": "s", "peak_rss": "bytes", "minor_faults": "count",
           "major_faults": "count", "voluntary_switches": "count",
           "involuntary_switches": "count"}
OUTSIDE_PREFIX = "run/"


class Result:
    """Of one run. error: None, or one line; metrics: name -> (value, unit)."""

    def __init__(self):
        self.error = None
        self.metrics = {}
        self.output = ""
        self.errors = ""


def parse_metrics(output):
    """(metrics, None), or (those before it, what is wrong with a line)."""
    metrics = {}
    for line in output.splitlines():
        if not line.startswith("metric "):
            continue
        words = line.split(" ")
        if len(words) != 4 or not re.fullmatch(r"[a-z0-9_/.:-]+", words[1]):
            return metrics, f"malformed line: {line[:MESSAGE_MAX]!r}"
        try:
            value = float(words[2])
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or words[3] not in UNITS:
            return metrics, f"no value or unit: {line[:MESSAGE_MAX]!r}"
        if words[1] in metrics:
            return metrics, f"metric {words[1]} comes twice"
        metrics[words[1]] = (value, words[3])
    return metrics, None


def without_places(text):
    """The text with paths cut down to names, but for those that are the same on every machine:
    results are kept and shown."""
    def shorten(found):
        path = found.group()
        kept = path.startswith(("/usr/", "/lib", "/proc/", "/etc/", "/dev/"))
        return path if kept else ".../" + os.path.basename(path)
    return re.sub(r"(?<![\w.])/(?:[\w.+@-]+/)+[\w.+@-]+", shorten, text)


def last_line(text):
    lines = text.strip().splitlines()
    return without_places(lines[-1])[:MESSAGE_MAX] if lines else "nothing on standard error"


def describe_end(how, code, errors, timeout_s):
    """None for a clean end, else one line."""
    if how == "timeout":
        return f"{TIMEOUT} after {timeout_s:g} s"
    if how == "signal":
        return f"crash: {signal.Signals(code).name}"
    return f"status {code}: {last_line(errors)}" if code else None


class Measurer:
    """Knows where weir_bench_measure is, and has a directory for its reports."""

    def __init__(self, program):
        self.program = program
        self.directory = tempfile.TemporaryDirectory(prefix="weir-compare.")
        self.running = None

    def run(self, command, preload, timeout_s, grace_s=GRACE_S):
        """One run of a command (a list). preload: a library, or None if it takes it by itself."""
        path = os.path.join(self.directory.name, "report")
        if os.path.exists(path):
            os.remove(path)
        wrapper = [self.program, "--report", path, "--timeout", str(timeout_s),
                   "--grace", str(grace_s)]
        if preload:
            wrapper += ["--preload", preload]
        result = Result()
        # Files, not pipes: nothing that the program leaves behind can hold the run up.
        with tempfile.TemporaryFile(mode="w+", errors="replace") as out, \
                tempfile.TemporaryFile(mode="w+", errors="replace") as err:
            # A session of its own, so that an interrupt from the terminal comes here alone.
            self.running = subprocess.Popen(wrapper + command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, start_new_session=True)
            try:
                status = self.running.wait()
            except BaseException:
                self.running.terminate()
                self.running.wait()
                raise
            out.seek(0)
            err.seek(0)
            result.output, result.errors = out.read(), err.read()
        if status != 0 or not os.path.exists(path):
            result.error = f"not measured: {last_line(result.errors)}"
            return result
        with open(path, encoding="utf-8") as file:
            report = dict(line.split() for line in file)
        result.error = describe_end(report["how"], int(report["code"]), result.errors, timeout_s)
        for name, unit in OUTSIDE.items():
            result.metrics[OUTSIDE_PREFIX + name] = (float(report[name]), unit)
        return result

    def benchmark(self, command, preload, timeout_s, grace_s=GRACE_S):
        """As run, of a program that must print metric lines."""
        result = self.run(command, preload, timeout_s, grace_s)
        metrics, wrong = parse_metrics(result.output)
        if not result.error and wrong:
            result.error = f"garbage, {wrong}"
        if not result.error and not metrics:
            result.error = "garbage, no metric line"
        result.metrics.update(metrics)
        return result
