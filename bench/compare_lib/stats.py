"""Medians, spreads and geometric means. Knows nothing of benchmarks."""
import math


def quantile(values, fraction):
    """The value below which `fraction` of the sorted values lie, with linear interpolation."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values):
    return quantile(values, 0.5)


def mad(values):
    """Median distance from the median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


def relative_spread(values):
    """The MAD as a share of the median; 0 where the median is."""
    middle = median(values)
    return mad(values) / abs(middle) if middle else 0.0


def geometric_mean(values):
    """Of positive values; None of none."""
    logs = [math.log(value) for value in values if value > 0]
    return math.exp(sum(logs) / len(logs)) if logs else None
