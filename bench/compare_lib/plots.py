"""SVG plots by gnuplot. Each plot is one figure with one statement; what they draw comes from a
Summary, the RSS curves from the CSV files that the programs wrote."""
import csv
import math
import os
import re
import shutil
import subprocess

from .allocators import WEIR
from .summary import label

COLOURS = ["#1b6ca8", "#888888", "#d1495b", "#66a182", "#edae49", "#8d6a9f", "#4b3f72", "#2e4057"]
PERCENTILE = re.compile(r"^(.*)/(p[0-9.]+|max)$")
AXIS = re.compile(r"^(.*)/([a-z_]+):(\d+)([kmg]?)(/.*|)$")
SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
AXIS_TITLES = {"live": "live heap in MiB"}
SERIES_POINTS_MAX = 400


def quoted(text):
    """A string of gnuplot's, with nothing in it that the enhanced mode or the quotes mean."""
    return '"' + re.sub(r'[\\"]', "", text).replace("_", " ") + '"'


def block(name, rows):
    lines = [" ".join("NaN" if cell is None else str(cell) for cell in row) for row in rows]
    return f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n"


def draw(path, title, body, width=900, height=480):
    """Whether gnuplot made the file."""
    script = (f'set terminal svg size {width},{height} dynamic font "sans,12" background "white"\n'
              f"set output '{os.path.basename(path)}'\nset title {quoted(title)}\n"
              "set grid ytics lc rgb '#dddddd'\nset key outside right top\nset border 3\n"
              "set tics nomirror\n" + body)
    result = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, check=False,
                            cwd=os.path.dirname(path) or ".")
    return result.returncode == 0 and os.path.isfile(path) and os.path.getsize(path) > 0


def colour(allocators, name):
    if name not in allocators:  # a line to compare with
        return "#000000"
    return COLOURS[allocators.index(name) % len(COLOURS)]


def bars(path, title, allocators, labels, ratios):
    """Cost beside weir, which is the line at 1: ratios[allocator] has a value or None per label."""
    others = [name for name in allocators if name != WEIR]
    if not others or not any(value for name in others for value in ratios[name]):
        return False
    # Logarithms on a linear axis, so that bars rise and fall from 1.
    logs = {name: [math.log2(value) if value else None for value in ratios[name]]
            for name in others}
    rows = [[quoted(text)] + [logs[name][i] for name in others] for i, text in enumerate(labels)]
    ticks = ", ".join(f'"{2.0 ** power:g}" {power}' for power in range(-10, 11))
    plots = [f"$ratios using {i + 2}:xtic(1) title {quoted(name)} "
             f"lc rgb '{colour(allocators, name)}'"
             for i, name in enumerate(others)]
    body = (block("ratios", rows) + "set style data histogram\nset style histogram cluster gap 1\n"
            "set style fill solid 0.9\nset xtics rotate by -35\n"
            f"set ytics ({ticks})\n"
            'set ylabel "cost / cost of weir (above 1: weir is better)"\n'
            "plot " + ", ".join(plots)
            + f" , 0 with lines lw 2 lc rgb '{COLOURS[0]}' title 'weir'\n")
    return draw(path, title, body, width=max(700, 260 + 70 * len(labels)))


def lines(path, title, allocators, curves, xlabel, ylabel, setup=""):
    """curves: {allocator: [(x, y)]}."""
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return False
    names = list(curves)
    body = "".join(block(f"curve{i}", curves[name]) for i, name in enumerate(names))
    body += f"set xlabel {quoted(xlabel)}\nset ylabel {quoted(ylabel)}\n{setup}"
    body += "plot " + ", ".join(
        f"$curve{i} using 1:2 with linespoints pt 7 ps 0.4 lw 2 "
        f"lc rgb '{colour(allocators, name)}' title {quoted(name)}"
        for i, name in enumerate(names)) + "\n"
    return draw(path, title, body)


def log_axis(values):
    """Ticks at exactly the values that were run."""
    ticks = ", ".join(f'"{value:g}" {value}' for value in sorted(set(values)))
    return (f"set logscale x 2\nset xtics ({ticks})\n"
            f"set xrange [{min(values) * 0.9}:{max(values) * 1.1}]\n")


class Plotter:
    """Draws all plots of a comparison into its directory; `made` is figure -> [(title, file)]."""

    def __init__(self, directory, summary):
        self.directory = directory
        self.summary = summary
        self.made = {}

    def add(self, figure, name, title, draw_it, *arguments, **more):
        file = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") + ".svg"
        if draw_it(os.path.join(self.directory, file), title, self.summary.allocators, *arguments,
                   **more):
            self.made.setdefault(figure, []).append((title, file))

    def ratio_bars(self, figure, what, ratio):
        keys = self.summary.keys(figure)
        ratios = {name: [ratio(key, name) for key in keys] for name in self.summary.allocators}
        self.add(figure, f"{figure}-{what}", f"{figure}: {what}", bars,
                 [label(key) for key in keys], ratios)

    def over_threads(self, figure):
        """Throughput of cases that were run with several numbers of threads."""
        cases = {}
        for key in self.summary.keys(figure):
            cases.setdefault(key[1], []).append(key)
        for case, keys in cases.items():
            if len(keys) < 2:
                continue
            for metric in self.summary.time_metrics(keys[0]):
                unit = self.summary.records.metrics_of(keys[0])[metric]
                curves = {name: [(key[2], value) for key in keys if not
                                 self.summary.failure(key, name) and
                                 (value := self.summary.median(key, name, metric)) is not None]
                          for name in self.summary.allocators}
                # A metric that has the number in its name is another one in each case.
                curves = {name: points for name, points in curves.items() if len(points) > 1}
                self.add(figure, f"{case}-{metric}-threads", f"{case}: {metric}", lines, curves,
                         "threads", unit, setup=log_axis([key[2] for key in keys])
                         + "set yrange [0:*]\n")

    def over_axis(self, figure):
        """Metrics that name the value of an axis, as libc/pair/64/threads:8."""
        for key in self.summary.keys(figure):
            groups = {}
            for metric in self.summary.own_metrics(key):
                if found := AXIS.match(metric):
                    name = (found.group(1) + found.group(5), found.group(2))
                    value = int(found.group(3)) * SUFFIXES[found.group(4)]
                    groups.setdefault(name, []).append((value, metric))
            for (name, axis), points in groups.items():
                if len(points) < 3 or any(value < 1 for value, _ in points):
                    continue
                if axis == "live":
                    points = [(value / (1 << 20), metric) for value, metric in points]
                unit = self.summary.records.metrics_of(key)[points[0][1]]
                curves = {allocator: [(value, middle) for value, metric in sorted(points) if
                                      (middle := self.summary.median(key, allocator, metric))
                                      is not None]
                          for allocator in self.summary.allocators
                          if not self.summary.failure(key, allocator)}
                self.add(figure, f"{key[1]}-{name}-{axis}", f"{label(key)}: {name}", lines, curves,
                         AXIS_TITLES.get(axis, axis), unit,
                         setup=log_axis([value for value, _ in points]) + "set yrange [0:*]\n")

    def percentiles(self, figure):
        """Curves over the percentiles of a distribution, as latency/malloc/p99.9."""
        for key in self.summary.keys(figure):
            groups = {}
            for metric in self.summary.own_metrics(key):
                if found := PERCENTILE.match(metric):
                    groups.setdefault(found.group(1), []).append((found.group(2), metric))
            for name, points in groups.items():
                if len(points) < 3:
                    continue
                ticks = ", ".join(f'"{text}" {i}' for i, (text, _) in enumerate(points))
                curves = {allocator: [(i, max(value, 1)) for i, (_, metric) in enumerate(points) if
                                      (value := self.summary.median(key, allocator, metric))
                                      is not None]
                          for allocator in self.summary.allocators
                          if not self.summary.failure(key, allocator)}
                self.add(figure, f"{label(key)}-{name}-percentiles", f"{label(key)}: {name}", lines,
                         curves, "percentile of the calls", "ns",
                         setup=f"set xtics ({ticks})\nset logscale y\n")

    def rss_over_time(self, figure):
        """From series/<case>.<threads>.<allocator>.csv: seconds, live_bytes, rss_bytes."""
        for key in self.summary.keys(figure):
            curves = {name: read_series(series_path(self.directory, key, name), "rss_bytes")
                      for name in self.summary.allocators}
            live = read_series(series_path(self.directory, key, WEIR), "live_bytes")
            if live:
                curves["live"] = live
            self.add(figure, f"{label(key)}-rss", f"{label(key)}: RSS over time", lines, curves,
                     "seconds", "MiB", setup="set yrange [0:*]\n")

    def all(self):
        if not shutil.which("gnuplot"):
            return self.made
        for figure in self.summary.records.figures:
            self.ratio_bars(figure, "time", self.summary.time_ratio)
            self.ratio_bars(figure, "peak RSS", self.summary.memory_ratio)
            self.over_threads(figure)
            self.over_axis(figure)
            self.percentiles(figure)
            self.rss_over_time(figure)
        return self.made


def series_path(directory, key, allocator):
    return os.path.join(directory, "series", f"{key[1]}.{key[2]}.{allocator}.csv")


def read_series(path, column):
    """[(seconds, MiB)], thinned out; [] without the file or the column."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            seconds = reader.fieldnames[0]
            points = [(float(row[seconds]), float(row[column]) / (1 << 20)) for row in reader]
    except (OSError, KeyError, TypeError, ValueError):
        return []
    step = max(1, len(points) // SERIES_POINTS_MAX)
    return points[::step]
