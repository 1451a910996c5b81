"""What the checks in this directory share: collecting violations, reading C, listing files.

A check is an executable of this directory, run from the repository root with the release build
directory as its only argument. It prints one line per violation, `file:line: what`, and exits 1;
it exits 0 when the rule holds and 1 when it found nothing that it could have checked.
"""
import os
import re
import subprocess
import sys

LAYERS = ["base", "os", "size", "page", "bin", "cache", "heap", "diag", "api"]
SIDE_LAYERS = ["rcu", "cli"]  # beside the layers: these see only their own headers and include/


class Check:
    """Counts what was looked at and collects what was wrong with it."""

    def __init__(self):
        self.name = os.path.basename(sys.argv[0])
        self.violations = {}
        self.checked = 0
        self.build = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else ""
        if len(sys.argv) != 2:
            sys.exit(f"usage: {sys.argv[0]} BUILD_DIRECTORY, from the repository root")

    def at(self, path, line, what):
        self.violations[f"{path}:{line}: {what}"] = True

    def require_build(self, path):
        """The path of a file of the build directory; ends the check where it is missing."""
        full = f"{self.build}/{path}"
        if not os.path.isfile(full):
            self.at(full, 0, "not built, nothing to check")
            self.done("")
        return full

    def done(self, noun):
        """Ends the check. `noun` names what `checked` counts."""
        if self.checked == 0 and not self.violations:
            self.at(f"ci/check/{self.name}", 0, f"found nothing to check (no {noun})")
        for line in self.violations:
            print(line)
        if not self.violations:
            print(f"{self.name}: {self.checked} {noun} checked")
        sys.exit(1 if self.violations else 0)


def walk(tops, suffixes):
    """The files under the directories `tops` whose names end in one of `suffixes`, in order."""
    found = []
    for top in tops:
        for directory, _, names in os.walk(top):
            found += [f"{directory}/{name}" for name in names if name.endswith(tuple(suffixes))]
    return sorted(found)


def tracked():
    """The files that git tracks or would add, in order; those deleted on disk are left out."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard", "-z"])
    if listed.returncode != 0:
        sys.exit(f".git:0: git ls-files failed: {listed.stderr.strip()}")
    return sorted({name for name in listed.stdout.split("\0") if name and os.path.isfile(name)})


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


COMMENT = r"//(?:[^\n\\]|\\.)*|/\*.*?(?:\*/|\Z)"
LITERAL = r'"(?:[^"\\\n]|\\.)*"' r"|'(?:[^'\\\n]|\\.)*'"
TOKEN = re.compile(f"{COMMENT}|{LITERAL}", re.S)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def split_c(text):
    """(code, comments) of a C file: each has the other part blanked, lines stay where they are."""
    code, comments, last = [], [], 0
    for match in TOKEN.finditer(text):
        between, token = text[last:match.start()], match.group()
        is_comment = token.startswith("/")
        code += [between, blank(token) if is_comment else token]
        comments += [blank(between), token if is_comment else blank(token)]
        last = match.end()
    code.append(text[last:])
    comments.append(blank(text[last:]))
    return "".join(code), "".join(comments)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", **more)
