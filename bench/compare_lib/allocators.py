"""The allocators compared: where their libraries are, and whether they are the ones that load.

Every one is preloaded, glibc's own too, so that all start in the same way and a program that brings
an allocator of its own (redis) runs on the one that is meant.
"""
import os
import re
import subprocess

SONAMES = {
    "glibc": "libc.so.6",
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "tbb": "libtbbmalloc_proxy.so.2",
}
WEIR = "weir"
NAME = r"[A-Za-z0-9_.+-]+"


class Allocator:
    """A name, a library, and why it cannot be measured (None: it can)."""

    def __init__(self, name, path, error=None):
        self.name = name
        self.path = os.path.abspath(path) if path else ""
        self.error = error
        if not error and not os.path.isfile(self.path):
            self.error = f"no file {self.path}"
        elif not error and re.search(r"[: ]", self.path):
            self.error = f"LD_PRELOAD cannot name a path with a space or colon: {self.path}"


def find_library(soname):
    """Where the dynamic linker finds a library, or None."""
    path = os.environ.get("PATH", "") + ":/sbin:/usr/sbin"
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False,
                            env={**os.environ, "PATH": path}).stdout
    for line in listed.splitlines():
        if found := re.match(rf"\s*{re.escape(soname)} \(.*x86-64.*\) => (\S+)$", line):
            return found.group(1)
    return None


def parse(against, weir):
    """Allocators of --against, weir first. Raises ValueError for what makes no sense."""
    chosen = [Allocator(WEIR, weir)]
    for word in filter(None, against.split(",")):
        name, equals, path = word.partition("=")
        if not re.fullmatch(NAME, name):
            raise ValueError(f"no name of an allocator: {name!r}")
        if name in [allocator.name for allocator in chosen]:
            raise ValueError(f"allocator {name} comes twice; weir is always there")
        if equals:
            chosen.append(Allocator(name, path, None if path else "no path given"))
        elif name in SONAMES:
            path = find_library(SONAMES[name])
            error = None if path else f"{SONAMES[name]} is not installed (bench/packages.txt)"
            chosen.append(Allocator(name, path, error))
        else:
            raise ValueError(f"unknown allocator {name}; known are {', '.join(SONAMES)}, "
                             "any other is name=path.so")
    return chosen


def check_loaded(allocator, measure, which):
    """Notes an error in the allocator unless it is the one that a process runs with."""
    if allocator.error:
        return
    result = measure(which, allocator.path, timeout_s=30)
    if result.error:
        allocator.error = f"does not load: {result.error}"
        return
    loaded = result.output.strip()
    if os.path.realpath(loaded) != os.path.realpath(allocator.path):
        said = re.search(r"from LD_PRELOAD cannot be preloaded \((.*?)\)", result.errors)
        why = f" ({said.group(1)})" if said else ""
        allocator.error = f"does not load: malloc comes from {os.path.basename(loaded)}{why}"
