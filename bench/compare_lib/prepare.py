"""What is done before a comparison: install, build, and make a directory for the results. All raise
PrepareError."""
import datetime
import os
import subprocess

from . import machine

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)


class PrepareError(Exception):
    """A text for people, and the exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


def call(command, what):
    """Quiet unless it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            cwd=ROOT, check=False)
    if result.returncode != 0:
        raise PrepareError(f"{what} failed:\n{result.stdout}")


def install(*lists):
    call(["ci/install.sh", *lists], "installing packages")


def build():
    """Builds build/release, and returns it."""
    call(["cmake", "--preset", "release"], "configuring")
    call(["cmake", "--build", "--preset", "release", "-j", str(os.cpu_count())], "building")
    return os.path.join(ROOT, "build", "release")


def result_directory(wanted, about, kept, suffix=""):
    """A new directory; the name of a day and a machine gets a number if there is one. kept: the
    file whose presence says that a directory has results already."""
    base = wanted or os.path.join(
        HERE, "results", f"{datetime.date.today()}-{machine.slug(about)}{suffix}")
    path, number = base, 1
    while not wanted and os.path.exists(path):
        number += 1
        path = f"{base}-{number}"
    if os.path.exists(os.path.join(path, kept)):
        raise PrepareError(f"{path} has results already", 2)
    os.makedirs(os.path.join(path, "series"), exist_ok=True)
    return path


def require_programs(bin_directory, names):
    for name in names:
        if not os.access(os.path.join(bin_directory, name), os.X_OK):
            raise PrepareError(f"no {name} in {bin_directory}: is that directory built?")
