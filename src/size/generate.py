#!/usr/bin/env python3
"""Writes size_table.inc, size_fine.inc and size_coarse.inc: the size classes, the lookup by size.

8, then steps of 16 up to 128; from there four classes a doubling up to 128 KiB, so that rounding up
wastes at most a fifth; and from 1 to 32 KiB one more an eighth above each power of two, since
programs put a header before a page. A slab is the shortest run of slices that holds at least 8
blocks (4 above 64 KiB) and leaves at most 2 % over (else the run of up to 8 slices that leaves
least).
Usage: generate.py [directory]; ci/check/size_tables compares with the files in the tree.
"""
import pathlib
import sys

SLICE = 65536
LARGEST = 131072
INDEXED = 32768       # WR_SMALL_MAX_BYTES in size_class.h
FINE = 1024           # WR_FINE_MAX_BYTES there
COARSE_STEP = 128     # WR_COARSE_STEP there
STEP = 8
SLICES_MAX = 8
RECIPROCAL_BITS = 31  # as there, which proves that it is enough
MARK_UNIT = 8         # WR_CLASS_MARK_UNIT there


def classes():
    sizes = [8] + list(range(16, 129, 16))
    base = 128
    while base < LARGEST:
        sizes += [base + base // 8] * (1024 <= base < INDEXED)
        sizes += [base + base // 4 * i for i in range(1, 5)]
        base *= 2
    return sizes


def slab_slices(size):
    least = 8 if size <= SLICE else 4
    fitting = [n for n in range(1, SLICES_MAX + 1) if n * SLICE // size >= least]
    for n in fitting:
        if n * SLICE % size * 50 <= n * SLICE:
            return n
    return min(fitting, key=lambda n: n * SLICE % size / n)


def write_marks(path, sizes, largest, step, index):
    marks, number = [], 1
    for size in range(0, largest + 1, step):
        while sizes[number - 1] < size:
            number += 1
        marks.append(number * MARK_UNIT)
    lines = ["/* Made by generate.py: the class mark of each size, by %s. */" % index]
    for i in range(0, len(marks), 20):
        lines.append(" ".join("%d," % n for n in marks[i:i + 20]))
    path.write_text("\n".join(lines) + "\n")


def main():
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    sizes = classes()
    rows = ["/* Made by generate.py: (block bytes, reciprocal, blocks, slices) of classes 1 and up. */"]
    for size in sizes:
        slices = slab_slices(size)
        reciprocal = -(-2**RECIPROCAL_BITS // (size // STEP))
        rows.append("WR_SIZE_CLASS(%d, %du, %d, %d)" % (size, reciprocal, slices * SLICE // size, slices))
    (directory / "size_table.inc").write_text("\n".join(rows) + "\n")

    write_marks(directory / "size_fine.inc", sizes, FINE, 1, "size")
    write_marks(directory / "size_coarse.inc", sizes, INDEXED, COARSE_STEP, "(size + 127) / 128")


main()
