"""Instructions of a hot allocation and free per allocator, counted by callgrind."""
import os
import subprocess
import sys
import tempfile

PAIRS = [("malloc", 16), ("malloc", 64), ("malloc", 256), ("malloc", 1024), ("calloc", 64)]
SOURCE = "ci/check/fast_path.c"


def count(root, allocators, quiet=False):
    """Rows for report.instructions_table."""
    sys.path.insert(0, os.path.join(root, "ci", "check"))
    from callgrind import per_pair  # pylint: disable=import-outside-toplevel
    rows = []
    with tempfile.TemporaryDirectory(prefix="weir-compare.") as directory:
        program = os.path.join(directory, "pairs")
        subprocess.run(["gcc", "-O2", "-fno-builtin", os.path.join(root, SOURCE), "-o", program],
                       check=True)

        def counts(path, _):
            return bool(path) and os.path.realpath(path) != os.path.realpath(program)

        for allocator in allocators:
            if allocator.error:
                continue
            environment = {**os.environ, "LD_PRELOAD": allocator.path, "LD_BIND_NOW": "1"}
            for pair, size in PAIRS:
                cost, error = per_pair([program, pair, str(size)], counts, directory, environment)
                rows.append({"allocator": allocator.name, "pair": pair, "size": size,
                             "instructions": cost, "error": error})
                if not quiet:
                    said = error or f"{cost:.1f} instructions"
                    print(f"{allocator.name}: {pair}({size}) + free: {said}", file=sys.stderr)
    return rows
