"""summary.csv and table.md from a Summary."""
import csv
import os

from . import stats
from .summary import label

COLUMNS = ["figure", "case", "threads", "allocator", "metric", "unit", "runs", "median", "mad",
           "q1", "q3", "min", "max", "cost_ratio_to_weir"]
SCALES = {"ops/s": [(1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (0, "/s")],
          "bytes": [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (0, "B")],
          "ns": [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (0, "ns")],
          "s": [(1, "s"), (1e-3, "ms"), (0, "µs")],
          "count": [(1e6, "M"), (1e3, "k"), (0, "")],
          "ratio": [(0, "")]}
INTRODUCTION = """\
Each cell is the median of an allocator's runs; in brackets its cost beside weir: **above 1 the
allocator is slower, or takes more memory, than weir, below 1 it is faster or takes less**, whatever
the unit. The best of a row is bold. *Spread* is the largest median deviation (MAD) of a cell in the
row, as a share of its median: differences of that size mean nothing. A cell that failed counts in
no mean.
"""


def number(value, unit):
    for least, suffix in SCALES[unit]:
        if abs(value) >= least:
            divisor = least or (1e-6 if unit == "s" else 1)
            digits = f"{value / divisor:.3g}" if abs(value / divisor) < 1000 \
                else f"{value / divisor:.0f}"
            return f"{digits} {suffix}".strip()
    raise AssertionError("every scale ends in 0")


def write_csv(path, summary):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for figure in summary.records.figures:
            for key in summary.keys(figure):
                for metric, unit in summary.records.metrics_of(key).items():
                    for allocator in summary.allocators:
                        values = summary.values(key, allocator, metric)
                        if not values:
                            continue
                        ratio = summary.ratio(key, allocator, metric)
                        numbers = [stats.median(values), stats.mad(values),
                                   stats.quantile(values, 0.25), stats.quantile(values, 0.75),
                                   min(values), max(values)]
                        out.writerow(list(key) + [allocator, metric, unit, len(values)]
                                     + [f"{value:.6g}" for value in numbers]
                                     + [f"{ratio:.4f}" if ratio else ""])


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * 1 + "---:|" * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in escaped]) + "\n"


def metric_row(summary, key, metric):
    """Cells of one metric; None where no allocator has it."""
    unit = summary.records.metrics_of(key)[metric]
    cells, medians, spread = [], {}, 0.0
    for allocator in summary.allocators:
        failure, values = summary.failure(key, allocator), summary.values(key, allocator, metric)
        if failure:
            cells.append("FAILED")
        elif not values:
            cells.append("-")
        else:
            ratio = summary.ratio(key, allocator, metric)
            medians[len(cells)] = stats.median(values)
            text = number(stats.median(values), unit)
            cells.append(text + (f" ({ratio:.2f})" if ratio else ""))
            spread = max(spread, stats.relative_spread(values))
    if medians:
        best = (max if unit == "ops/s" else min)(medians, key=medians.get)
        cells[best] = f"**{cells[best]}**"
    return cells, f"{spread:.1%}"


def is_the_same(summary, key, metric):
    """Whether it counts the work, which no allocator changes."""
    units = summary.records.metrics_of(key)
    values = [value for allocator in summary.allocators
              for value in summary.values(key, allocator, metric)]
    return units[metric] == "count" and len(set(values)) == 1


def figure_tables(summary, figure):
    """The figure's metrics, then its memory, then what failed."""
    keys = summary.keys(figure)
    header = ["benchmark"] + summary.allocators + ["spread"]
    rows, memory = [], []
    for key in keys:
        peak = summary.memory_metric(key)
        for metric in summary.own_metrics(key):
            if metric != peak and not is_the_same(summary, key, metric):
                cells, spread = metric_row(summary, key, metric)
                rows.append([f"{label(key)}: {metric}"] + cells + [spread])
        if peak in summary.records.metrics_of(key):
            cells, spread = metric_row(summary, key, peak)
            memory.append([label(key)] + cells + [spread])
    parts = []
    means = [summary.means(keys, allocator) for allocator in summary.allocators]
    shown = [[f"{mean:.3f}" if mean else "-" for mean in column] for column in zip(*means)]
    if rows:
        rows.append(["*geometric mean of costs, time*"] + shown[0] + [""])
        parts.append(table(header, rows))
    if memory:
        memory.append(["*geometric mean of costs*"] + shown[1] + [""])
        parts.append("Peak RSS (apps: of the server; of PostgreSQL and nginx the private memory "
                     "of all processes):\n\n" + table(header, memory))
    failures = summary.failures(keys)
    if failures:
        parts.append("Failed:\n\n" + "\n".join(
            f"- {label(key)}, {allocator}: {text}" for key, allocator, text in failures) + "\n")
    return "\n".join(parts)


def overview(summary):
    """Geometric means by figure, and over all figures with each counting once."""
    header = ["cost beside weir"] + summary.allocators
    rows = []
    for index, what in enumerate(("time", "peak RSS")):
        columns = {allocator: [] for allocator in summary.allocators}
        for figure in summary.records.figures:
            means = [summary.means(summary.keys(figure), allocator)[index]
                     for allocator in summary.allocators]
            rows.append([f"{figure}, {what}"] + [f"{mean:.3f}" if mean else "-" for mean in means])
            for allocator, mean in zip(summary.allocators, means):
                if mean:
                    columns[allocator].append(mean)
        totals = [stats.geometric_mean(columns[allocator]) for allocator in summary.allocators]
        rows.append([f"**all figures, {what}**"]
                    + [f"**{total:.3f}**" if total else "-" for total in totals])
    return table(header, rows)


def markdown(summary, settings, machine, plots):
    """The text of table.md. plots: figure -> [(title, file)]."""
    parts = ["# Comparison\n", machine_line(machine, settings), INTRODUCTION]
    for allocator in settings.get("allocators", []):
        if allocator["error"]:
            parts.append(f"**{allocator['name']} was not measured: {allocator['error']}**\n")
    if settings.get("left_out"):
        parts.append(f"{settings['left_out']} of the cases' rounds were left out to end in time.\n")
    if settings.get("stopped"):
        parts.append("The comparison was stopped before its end.\n")
    if summary.records.figures:
        parts += ["## All\n", overview(summary)]
    for figure in summary.records.figures:
        parts += [f"## {figure}\n", figure_tables(summary, figure)]
        parts += [f"![{title}]({file})\n" for title, file in plots.get(figure, [])]
    if settings.get("instructions"):
        parts += ["## instructions\n", instructions_table(settings["instructions"])]
    return "\n".join(parts)


def instructions_table(rows):
    """rows: [{allocator, pair, size, instructions or error}]."""
    names = list(dict.fromkeys(row["allocator"] for row in rows))
    pairs = list(dict.fromkeys((row["pair"], row["size"]) for row in rows))
    cell = {(row["allocator"], row["pair"], row["size"]):
            f"{row['instructions']:.1f}" if row["error"] is None else f"FAILED: {row['error']}"
            for row in rows}
    body = [[f"{pair}({size}) + free"] + [cell.get((name, pair, size), "-") for name in names]
            for pair, size in pairs]
    return ("Instructions of a hot pair outside the calling program (callgrind):\n\n"
            + table(["pair"] + names, body))


def machine_line(machine, settings):
    return (f"{settings.get('date', '')}; {machine.get('cpu', 'unknown CPU')}, "
            f"{machine.get('cores', '?')} cores, Linux {machine.get('kernel', '?')}, load before "
            f"{machine.get('load_before', '?')}; {settings.get('rounds_done', '?')} rounds.\n")


def write(directory, summary, settings, machine, plots):
    write_csv(os.path.join(directory, "summary.csv"), summary)
    with open(os.path.join(directory, "table.md"), "w", encoding="utf-8") as file:
        file.write(markdown(summary, settings, machine, plots))
