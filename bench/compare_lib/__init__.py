"""The parts of bench/compare. Reading order: suite (bench/suite.py), prepare, allocators, measure,
schedule, records, stats, report, plots."""
