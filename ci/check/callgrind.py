"""Counts instructions by callgrind, so that the number does not depend on the machine's mood."""
import os
import re
import subprocess

PAIRS_FEW, PAIRS_MANY = 10000, 30000


def self_cost(profile, counts):
    """Instructions in a callgrind profile executed in the objects for whose path counts() holds,
    without what they called in others."""
    names, here, skip, total = {}, False, False, 0
    with open(profile, encoding="utf-8") as file:
        for line in file:
            if named := re.match(r"c?ob=\((\d+)\)(?: (.*))?$", line.rstrip("\n")):
                if named.group(2):
                    names[named.group(1)] = named.group(2)
                if line.startswith("ob="):
                    here = counts(names.get(named.group(1), ""))
            elif line.startswith("calls="):
                skip = True  # the next line is what the callee cost
            elif re.match(r"[+\-*\d]", line):
                if here and not skip:
                    total += int(line.split()[1])
                skip = False
    return total


def per_pair(command, counts, directory, environment=None):
    """(instructions per pair, None) or (None, why not). `command` takes a number of pairs as its
    last argument; the difference of two numbers leaves out what the start costs."""
    costs = []
    for pairs in (PAIRS_FEW, PAIRS_MANY):
        profile = os.path.join(directory, f"callgrind.{pairs}")
        result = subprocess.run(
            ["valgrind", "--tool=callgrind", "--dump-instr=no", "--dump-line=yes",
             f"--callgrind-out-file={profile}"] + command + [str(pairs)],
            capture_output=True, text=True, errors="replace", env=environment)
        if result.returncode != 0 or not os.path.isfile(profile):
            last = (result.stderr.strip().split("\n") or [""])[-1]
            return None, f"ended with {result.returncode} under callgrind: {last}"
        costs.append(self_cost(profile, counts))
        os.remove(profile)
    return (costs[1] - costs[0]) / (PAIRS_MANY - PAIRS_FEW), None
