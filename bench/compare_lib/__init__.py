"""The parts of bench/compare. Reading order: suite (bench/suite.py), allocators, measure, schedule,
records, stats, report, plots."""
