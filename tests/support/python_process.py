"""Python processes that are forked off one that has imported the packages they need.

Tests start more than a hundred, most of whose CPU time would pass with these imports.
A process is a child of the test's, as subprocess.Popen makes it: the one that forks it
ends at once, while the test adopts its orphans.
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# Of other people and without settings. chdb is not among them: it starts threads, which
# a fork would lose.
PACKAGES = """
    numpy pyarrow pyarrow.compute pyarrow.parquet psycopg psycopg.types.range requests
    celery.app celery.bin.celery kombu.transport.redis redis.asyncio PIL.Image jinja2
    django.core.management django.core.handlers.wsgi django.contrib.postgres.fields
    django.db.backends.postgresql.base django.db.backends.sqlite3.base django.test
    rest_framework.fields rest_framework.serializers drf_spectacular.utils waitress
    whitenoise.middleware prometheus_client gunicorn.app.wsgiapp"""
ROOT = Path(__file__).resolve().parent.parent.parent
LENGTH_BYTES = 8
SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
STANDARD_STREAMS = 3
libc = ctypes.CDLL(None, use_errno=True)


class Popen(subprocess.Popen):
    """Python with these arguments: `manage.py …`, `-m module …` or `-c code …`.

    The other parameters are those of subprocess.Popen; `torch` says that the process
    loads a model.
    """

    def __init__(self, arguments: list, *, torch: bool = False, **more: Any):
        self.torch = torch
        super().__init__([sys.executable, *map(str, arguments)], **more)

    def _execute_child(self, *given: Any) -> None:
        made = inspect.signature(super()._execute_child).bind(*given).arguments
        ends = [made["p2cread"], made["c2pwrite"], made["errwrite"]]
        streams = [own if end == -1 else end for own, end in enumerate(ends)]
        job = {
            "arguments": made["args"][1:],
            "cwd": os.fspath(made["cwd"] or Path.cwd()),
            "environment": dict(os.environ if made["env"] is None else made["env"]),
            "torch": self.torch,
            "new_session": made["start_new_session"],
        }
        with adopting_orphans():
            self.pid = forker().fork(job, streams)
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(made[name] for name in pipes))


def run(
    arguments: list, *, input: str | None = None, **more: Any
) -> subprocess.CompletedProcess:
    """Run a process to its end, as subprocess.run with capture_output and text."""
    pipe = subprocess.PIPE
    pipes = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
    with Popen(arguments, **(pipes | more)) as process:
        output, errors = process.communicate(input)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


@contextmanager
def adopting_orphans() -> Iterator[None]:
    libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Forker:
    """The process that has imported the packages; it ends with this one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.socket, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": ""}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def fork(self, job: dict[str, Any], streams: list[int]) -> int:
        """Return the id of a new process, a child of this one while it adopts."""
        message = json.dumps(job).encode()
        with self.lock:
            length = len(message).to_bytes(LENGTH_BYTES, "big")
            socket.send_fds(self.socket, [length], streams)
            self.socket.sendall(message)
            answer = self.socket.recv(LENGTH_BYTES, socket.MSG_WAITALL)
        assert answer, "the process that forks others has ended"
        return int.from_bytes(answer, "big")


@cache
def forker() -> Forker:
    return Forker()


# --- In the process that forks


def next_job(parent: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for each job that comes; return the job in the process that has to do it."""
    while True:
        length, streams, _, _ = socket.recv_fds(parent, LENGTH_BYTES, STANDARD_STREAMS)
        if not length:
            sys.exit()
        size = int.from_bytes(length, "big")
        job = json.loads(parent.recv(size, socket.MSG_WAITALL))
        if job["torch"]:
            import_torch()
        read, write = os.pipe()
        if between := os.fork():
            os.waitpid(between, 0)
            parent.sendall(os.read(read, LENGTH_BYTES))
            for each in (read, write, *streams):
                os.close(each)
        elif orphan := os.fork():
            os.write(write, orphan.to_bytes(LENGTH_BYTES, "big"))
            os._exit(0)
        else:
            os.close(read)
            os.close(write)
            parent.close()
            return job, streams


@cache
def import_torch() -> None:
    sys.path.insert(0, str(ROOT))
    from search.encoder.openclip import make_torchvision_importable

    make_torchvision_importable()
    importlib.import_module("open_clip")
    sys.path.remove(str(ROOT))
    gc.freeze()


def become(job: dict[str, Any], streams: list[int]) -> None:
    """Set up this process as Python does when it starts."""
    if job["new_session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    # A new one: whether the file can be sought is noted when it is opened.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    path = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = path.split(os.pathsep) if path else []


def do(arguments: list[str]) -> None:
    """Run what Python would run with these arguments."""
    kind, *rest = arguments
    if kind == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        main = vars(sys.modules["__main__"])
        exec(compile(rest[0], "<string>", "exec"), main)
    else:
        sys.path.insert(0, str(Path(kind).resolve().parent))
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for package in PACKAGES.split():
        importlib.import_module(package)
    gc.freeze()
    job, streams = next_job(socket.socket(fileno=int(sys.argv[1])))
    become(job, streams)
    do(job["arguments"])
