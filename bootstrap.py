"""Set up what laionweb needs; every failure becomes one sentence.

    bootstrap.py            .venv with what laionweb imports
    bootstrap.py dev        also what linting and testing import
    bootstrap.py services   also Debian's packages that make dev and the tests start
    bootstrap.py tools      also .venv-tools, third-party programs for some tests

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOG = ROOT / "var" / "setup.log"
OLDEST = (3, 11)
# Debian's package: how to find out whether it is installed.
SYSTEM_PACKAGES = {
    "chromium-headless-shell": lambda: chromium(),
    "curl": lambda: shutil.which("curl"),
    "postgresql": lambda: postgres_folder(),
    "redis-server": lambda: shutil.which("redis-server"),
}


class SetupError(Exception):
    """A failure of the set-up; the message is one sentence for the user."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment next to this file, and how pip fills it.

    The lock files list every package with its hashes; requirements.in says why torch
    comes from a file of its own.
    """

    name: str
    announced: str
    locks: tuple[str, ...]
    unlocked: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return self.locks + self.unlocked

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.folder / "installed"

    @property
    def unfinished(self) -> Path:
        return self.folder / "unfinished"


OWN = Environment(
    ".venv",
    "Installing the Python packages (about a minute) …",
    locks=("requirements.txt",),
    unlocked=("requirements-torch.txt",),
)
DEV = replace(OWN, locks=(*OWN.locks, "requirements-dev.txt"))
TOOLS = Environment(
    ".venv-tools",
    "Installing third-party tools for the tests (about a minute) …",
    locks=("requirements-tools.txt",),
    options=("--no-compile",),
)


def main(arguments: list[str]) -> int:
    try:
        prepare(DEV if "dev" in arguments else OWN)
        if "services" in arguments:
            install_system_packages()
        if "tools" in arguments:
            prepare_tools()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run starts the set-up again.", file=sys.stderr)
        return 130
    except OSError as error:
        print(explain(f"error: {error}"), file=sys.stderr)
        return 1
    return 0


def prepare(environment: Environment) -> None:
    """Make the environment, unless a stamp says that it has these very packages."""
    files = [(ROOT / name).read_bytes() for name in environment.files]
    hashes = [hashlib.sha256(file).hexdigest() for file in files]
    stamp = environment.stamp
    installed = stamp.read_text().split() if stamp.exists() else []
    works = venv_works(environment)
    if works and set(hashes) <= set(installed):
        return
    if not works:
        check_python()
        make_venv(environment)
    environment.unfinished.touch()
    stamp.unlink(missing_ok=True)
    install(environment)
    stamp.write_text("\n".join(hashes))
    environment.unfinished.unlink()


def prepare_tools() -> None:
    """Make .venv-tools; without it the tests that start its programs are skipped."""
    try:
        prepare(TOOLS)
    except SetupError as error:
        print(f"{error}\nThe tests that need {TOOLS.name} will be left out.")


def venv_works(environment: Environment) -> bool:
    """Return whether it starts, and its last installation was not interrupted."""
    if environment.unfinished.exists() or not environment.python.exists():
        return False
    tried = [str(environment.python), "-c", "import pip"]
    return subprocess.run(tried, capture_output=True).returncode == 0


def check_python() -> None:
    if sys.version_info < OLDEST:
        raise SetupError(
            f"laionweb needs Python 3.11 or newer and this is {sys.version.split()[0]}:"
            " name another one, e.g. make run PYTHON=python3.12"
        )
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise SetupError(
            "This Python cannot make a virtual environment: install its venv module"
            " (Debian: apt-get install python3-venv)."
        )


def make_venv(environment: Environment) -> None:
    print(f"Making the virtual environment {environment.name} …", flush=True)
    shutil.rmtree(environment.folder, ignore_errors=True)
    environment.folder.mkdir()
    environment.unfinished.touch()
    run_logged([sys.executable, "-m", "venv", str(environment.folder)])


def install(environment: Environment) -> None:
    print(environment.announced, flush=True)
    locked = [f"--requirement={ROOT / name}" for name in environment.locks]
    pip_install(environment, "--require-hashes", "--no-deps", *locked)
    for name in environment.unlocked:
        pip_install(environment, f"--requirement={ROOT / name}")


def pip_install(environment: Environment, *arguments: str) -> None:
    run_logged(
        [str(environment.python), "-m", "pip", "install", "--no-input"]
        + ["--retries", "2", "--disable-pip-version-check", *environment.options]
        + [*arguments]
    )


def run_logged(command: list[str]) -> None:
    """Run a command, its output in the log; on a terminal show its last line."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    shown = sys.stdout.isatty()
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, text=True, errors="replace", **piped)
    with process, LOG.open("w", 1, encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            if shown and re.match("Collecting|Downloading|Installing", line.strip()):
                print(f"\r\033[K  {line.strip()[:74]}", end="", flush=True)
    if shown:
        print("\r\033[K", end="", flush=True)
    if process.returncode:
        raise SetupError(explain(LOG.read_text(encoding="utf-8")))


def explain(log: str) -> str:
    """Return one sentence for what pip reported."""
    if re.search("No space left on device|Disk quota exceeded", log):
        return "The disk is full: the Python packages need about 3 GB."
    if "ensurepip is not available" in log:
        return (
            "This Python cannot make a virtual environment: install its venv module"
            " (Debian: apt-get install python3-venv)."
        )
    if missing := missing_for_compiling(log):
        return (
            f"{missing} found, and {package_being_built(log)} has to be compiled here:"
            " install gcc and the Python headers"
            " (Debian: apt-get install build-essential python3-dev)."
        )
    if reason := unreachable_index(log):
        return (
            f"The package index cannot be reached: {reason};"
            " check the network or PIP_INDEX_URL."
        )
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in log:
        return f"A Python package differs from the one that was locked (more in {LOG})."
    errors = re.findall(r"^\s*(?:ERROR|error): (.+)$", log, re.M)
    last = errors[-1] if errors else (log.split("\n")[-2:] or [""])[0]
    return f"The Python packages could not be installed: {last} (more in {LOG})."


def missing_for_compiling(log: str) -> str:
    if "Python.h: No such file" in log:
        return "The Python headers were not"
    compiler = r"'[^' ]*(?:cc|clang|\+\+)'"
    no_compiler = (
        rf"command {compiler} failed: No such file|unable to execute {compiler}"
        rf"|No such file or directory: {compiler}"
        r"|Unknown compiler\(s\)|No CMAKE_C(?:XX)?_COMPILER could be found"
    )
    return "No C compiler was" if re.search(no_compiler, log) else ""


def package_being_built(log: str) -> str:
    built = re.search(r"Failed (?:building|to build)(?: wheel for)? '?([\w.-]+)", log)
    collected = re.findall(r"^(?:Collecting|Processing) (\S+)", log, re.M)
    return built[1] if built else (collected or ["a package"])[-1]


def unreachable_index(log: str) -> str:
    """Return why the index did not answer, in a few words; empty if it did."""
    if re.search("CERTIFICATE_VERIFY_FAILED|problem confirming the ssl", log):
        return "its certificate was not accepted"
    broken = "connection broken by|Max retries exceeded|Cannot connect to proxy"
    if not re.search(broken, log):
        return ""
    cause = re.search(r"\[Errno -?\d+\] ([\w ]+)", log)
    return cause[1].lower() if cause else "it does not answer"


def postgres_folder() -> str | None:
    """Return the folder of initdb and pg_ctl, which Debian keeps off the PATH."""
    found = shutil.which("initdb") or max(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None
    )
    return found and os.path.dirname(os.path.realpath(found))


def chromium() -> str | None:
    """Return the browser for tests; without windows it takes a third less CPU time."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def install_system_packages() -> None:
    """Install the programs that make dev and the tests start, as far as missing."""
    missing = [name for name, found in SYSTEM_PACKAGES.items() if not found()]
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise SetupError(
            f"Programs that are needed are not installed: {names}"
            f" (Debian: sudo apt-get install {names})."
        )
    print(f"Installing {names} …", flush=True)
    installed = apt_get("install", *missing)
    if not installed and not (apt_get("update") and apt_get("install", *missing)):
        raise SetupError(f"apt-get could not install {names}: see {LOG}.")


def apt_get(action: str, *names: str) -> bool:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "--yes", "--no-install-recommends", action, *names]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with LOG.open("a", encoding="utf-8") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=quiet)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
