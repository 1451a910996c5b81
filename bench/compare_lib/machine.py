"""What the numbers depend on beside the allocators: machine.json and machine.txt."""
import json
import os
import platform
import re
import subprocess

PACKAGES = ["libc6", "libjemalloc2", "libmimalloc2.0", "libtcmalloc-minimal4", "libtbbmalloc2",
            "libbenchmark1debian", "redis-server", "memcached", "sqlite3", "python3", "clang-14",
            "postgresql-15", "nginx", "valgrind"]


def first_line(command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not there"
    return (result.stdout.strip().split("\n") or [""])[0] if result.returncode == 0 else "not there"


def read_text(path, otherwise="not readable"):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return otherwise


def field(path, name):
    found = re.search(rf"^{name}\s*:\s*(.*)$", read_text(path), re.M)
    return found.group(1) if found else "not known"


def versions():
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n"] + PACKAGES,
                            capture_output=True, text=True, check=False).stdout
    return dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)


def describe(root):
    cpu = "/sys/devices/system/cpu"
    return {
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in field("/proc/cpuinfo", "flags").split(),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "system": field_of_release(),
        "governor": read_text(f"{cpu}/cpu0/cpufreq/scaling_governor"),
        "turbo_off": read_text(f"{cpu}/intel_pstate/no_turbo"),
        "transparent_huge_pages": read_text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "overcommit": read_text("/proc/sys/vm/overcommit_memory"),
        "load_before": " ".join(read_text("/proc/loadavg").split()[:3]),
        "compilers": {name: first_line([name, "--version"]) for name in ("gcc", "g++", "clang")},
        "packages": versions(),
        "weir": first_line(["git", "-C", root, "describe", "--always", "--dirty", "--tags"]),
    }


def field_of_release():
    found = re.search(r'^PRETTY_NAME="?(.*?)"?$', read_text("/etc/os-release"), re.M)
    return found.group(1) if found else "not known"


def slug(machine):
    """A short name for directories."""
    words = re.sub(r"\(.*?\)|@.*|\b(?:cpu|processor)\b", " ", machine["cpu"], flags=re.I)
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "machine"
    return f"{name[:32].strip('-')}-{machine['cores']}"


def write(directory, machine):
    with open(os.path.join(directory, "machine.json"), "w", encoding="utf-8") as file:
        json.dump(machine, file, indent=2)
        file.write("\n")
    lines = []
    for name, value in machine.items():
        if isinstance(value, dict):
            lines += [f"{name}:"] + [f"  {key}: {text}" for key, text in value.items()]
        else:
            lines.append(f"{name}: {value}")
    with open(os.path.join(directory, "machine.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
