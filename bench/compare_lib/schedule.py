"""The order of the runs, and how much of it is left.

A round runs every case once on every allocator, one allocator after the other within a case, so
that what the machine does meanwhile hits all of them alike. The order of the allocators moves by
one each round, so none is always first.
"""
import sys
import time

from .measure import TIMEOUT

GUESS_S = {"apps": 8.0, "server": 8.0}  # of a run before it was seen once
GUESS_OTHER_S = 3.0


def rotated(items, by):
    by %= len(items) or 1
    return items[by:] + items[:by]


def duration(seconds):
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes \
        else f"{rest} s"


class Progress:
    """One line per run on standard error."""

    def __init__(self, cases, allocators, rounds, quiet=False):
        self.total = len(cases) * len(allocators) * rounds
        self.cases, self.allocators, self.rounds = cases, allocators, rounds
        self.done = 0
        self.seen_s = {}  # case -> seconds of its last run
        self.begin_s = time.monotonic()
        self.quiet = quiet

    def expected_s(self, case):
        return self.seen_s.get(case, GUESS_S.get(case.figure, GUESS_OTHER_S))

    def left_s(self, number, index):
        """From the case with this index in this round on."""
        rest = self.cases[index:] + self.cases * (self.rounds - number)
        return sum(map(self.expected_s, rest)) * len(self.allocators)

    def elapsed_s(self):
        return time.monotonic() - self.begin_s

    def say(self, number, index, case, allocator, seconds, error):
        self.done += 1
        if not error:
            self.seen_s[case] = seconds
        if self.quiet:
            return
        what = f"{seconds:6.1f} s" if not error else f"FAILED {error}"
        print(f"[{self.done}/{self.total}] round {number} {case.label} {allocator.name}: {what}, "
              f"left {duration(self.left_s(number, index + 1))}", file=sys.stderr, flush=True)


def run_all(cases, allocators, rounds, limit_s, run_one, record, progress):
    """run_one(case, allocator, number) gives a Result; record(number, place, case, allocator,
    result) keeps it. Returns how many times a case was left out because of the limit."""
    usable = [allocator for allocator in allocators if not allocator.error]
    left_out = 0
    hung = set()  # no second wait for what did not end
    for number in range(1, rounds + 1):
        order = rotated(usable, number - 1)
        for index, case in enumerate(cases):
            group_s = progress.expected_s(case) * len(order)
            if limit_s and progress.elapsed_s() + group_s > limit_s:
                left_out += 1
                continue
            for place, allocator in enumerate(order, 1):
                if (case, allocator.name) in hung:
                    progress.done += 1
                    continue
                start = time.monotonic()
                result = run_one(case, allocator, number)
                record(number, place, case, allocator, result)
                if result.error and result.error.startswith(TIMEOUT):
                    hung.add((case, allocator.name))
                progress.say(number, index, case, allocator, time.monotonic() - start,
                             result.error)
    return left_out
