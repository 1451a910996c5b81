"""raw.csv: one row per metric of every run, or one row for a run that gave none. It is written as
the runs end, so a comparison that was stopped can still be shown."""
import csv
import os

COLUMNS = ["round", "place", "figure", "case", "threads", "allocator", "error", "metric", "value",
           "unit"]


class Writer:
    def __init__(self, path):
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.csv = csv.writer(self.file, lineterminator="\n")
        self.csv.writerow(COLUMNS)

    def add(self, number, place, case, allocator, result):
        """number: of the round, from 1; place: in its order of allocators, from 1."""
        key = [number, place, case.figure, case.name, case.threads, allocator.name]
        if result.error:
            self.csv.writerow(key + [result.error.replace("\n", " "), "", "", ""])
        else:
            for name, (value, unit) in result.metrics.items():
                self.csv.writerow(key + ["", name, repr(value), unit])
        self.file.flush()

    def close(self):
        self.file.close()


class Records:
    """What raw.csv holds, by figure, case, allocator and metric; all in order of appearance."""

    def __init__(self):
        self.figures = {}  # figure -> {(case, threads): None}
        self.allocators = {}  # name -> None
        self.metrics = {}  # (figure, case, threads) -> {metric: unit}
        self.values = {}  # (figure, case, threads, allocator, metric) -> [value]
        self.errors = {}  # (figure, case, threads, allocator) -> [error]
        self.runs = {}  # the same -> number of runs, failed ones too
        self.rounds = 0

    def metrics_of(self, key):
        return self.metrics.get(key, {})


def read(directory):
    records, seen = Records(), set()
    with open(os.path.join(directory, "raw.csv"), newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("unit") is None:  # the last line of a run that was stopped in the middle
                continue
            key = (row["figure"], row["case"], int(row["threads"]))
            by = key + (row["allocator"],)
            records.figures.setdefault(row["figure"], {})[key[1:]] = None
            records.allocators[row["allocator"]] = None
            records.rounds = max(records.rounds, int(row["round"]))
            if (row["round"], by) not in seen:
                seen.add((row["round"], by))
                records.runs[by] = records.runs.get(by, 0) + 1
            if row["error"]:
                records.errors.setdefault(by, []).append(row["error"])
            else:
                records.metrics.setdefault(key, {})[row["metric"]] = row["unit"]
                records.values.setdefault(by + (row["metric"],), []).append(float(row["value"]))
    return records
