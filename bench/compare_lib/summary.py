"""From records to costs: medians per cell and what an allocator costs beside weir.

A ratio is always a cost: above 1 is slower, or more memory, than weir. What failed in any run
counts in no mean.
"""
import re

from . import stats
from .allocators import WEIR
from .measure import OUTSIDE_PREFIX

PEAK_OUTSIDE = OUTSIDE_PREFIX + "peak_rss"
WALL_OUTSIDE = OUTSIDE_PREFIX + "wall"
SCORE_UNITS = ("ops/s", "ns", "s")  # the first that a case has metrics in is its time


class Summary:
    """scores: case name -> pattern of the metrics that are its time; others by SCORE_UNITS."""

    def __init__(self, records, scores):
        self.records = records
        self.scores = scores
        self.allocators = list(records.allocators)

    def values(self, key, allocator, metric):
        return self.records.values.get(key + (allocator, metric), [])

    def median(self, key, allocator, metric):
        values = self.values(key, allocator, metric)
        return stats.median(values) if values else None

    def failure(self, key, allocator):
        """None, or 'n of m failed: the first error'."""
        errors = self.records.errors.get(key + (allocator,))
        if not errors:
            return None
        runs = self.records.runs[key + (allocator,)]
        return f"{len(errors)} of {runs} failed: {errors[0]}"

    def ratio(self, key, allocator, metric):
        """Cost of the metric beside weir, or None."""
        own, base = self.median(key, allocator, metric), self.median(key, WEIR, metric)
        if not own or not base or own < 0 or base < 0:
            return None
        return base / own if self.records.metrics_of(key)[metric] == "ops/s" else own / base

    def own_metrics(self, key):
        """Those the program printed."""
        return [metric for metric in self.records.metrics_of(key)
                if not metric.startswith(OUTSIDE_PREFIX)]

    def time_metrics(self, key):
        units = self.records.metrics_of(key)
        own = self.own_metrics(key)
        pattern = self.scores.get(key[1])
        if pattern:
            return [metric for metric in own if re.search(pattern, metric)]
        for unit in SCORE_UNITS:
            if found := [metric for metric in own if units[metric] == unit]:
                return found
        return [WALL_OUTSIDE] if WALL_OUTSIDE in units else []

    def memory_metric(self, key):
        """A program that starts others says itself what its server took."""
        own = [metric for metric in self.own_metrics(key) if metric.endswith("/rss_peak")]
        return own[0] if own else PEAK_OUTSIDE

    def case_ratio(self, key, allocator, metrics):
        """Geometric mean of the ratios, None where either allocator failed."""
        if self.failure(key, allocator) or self.failure(key, WEIR):
            return None
        ratios = [self.ratio(key, allocator, metric) for metric in metrics]
        return stats.geometric_mean([ratio for ratio in ratios if ratio])

    def time_ratio(self, key, allocator):
        return self.case_ratio(key, allocator, self.time_metrics(key))

    def memory_ratio(self, key, allocator):
        return self.case_ratio(key, allocator, [self.memory_metric(key)])

    def keys(self, figure):
        return [(figure,) + case for case in self.records.figures[figure]]

    def means(self, keys, allocator):
        """(time, memory): geometric means over the cases; each case counts once."""
        times = [self.time_ratio(key, allocator) for key in keys]
        memory = [self.memory_ratio(key, allocator) for key in keys]
        return (stats.geometric_mean([ratio for ratio in times if ratio]),
                stats.geometric_mean([ratio for ratio in memory if ratio]))

    def failures(self, keys):
        """(key, allocator, text) of all cells that failed."""
        return [(key, allocator, text) for key in keys for allocator in self.allocators
                if (text := self.failure(key, allocator))]


def label(key):
    """A case as people read it; 0 threads: the case has no such number."""
    return f"{key[1]} t{key[2]}" if key[2] else key[1]
