"""Counts instructions by callgrind, so that the number does not depend on the machine's mood."""
import os
import re
import subprocess

PAIRS_FEW, PAIRS_MANY = 10000, 30000


def self_cost(profile, counts):
    """Instructions in a callgrind profile executed in the functions for whose object's path and
    name counts() holds, without what they called in others."""
    names, here, skip, total = {}, {"ob": "", "fn": ""}, False, 0
    with open(profile, encoding="utf-8") as file:
        for line in file:
            if named := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line.rstrip("\n")):
                called, kind, number, name = named.groups()
                if name:
                    names[kind, number] = name
                if not called:
                    here[kind] = names.get((kind, number), "")
            elif line.startswith("calls="):
                skip = True  # the next line is what the callee cost
            elif re.match(r"[+\-*\d]", line):
                if not skip and counts(here["ob"], here["fn"]):
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
