"""Pools of decoder processes, so that no image file is decoded in this process.

A decoder that takes too long, too much memory or crashes is replaced, and its image is
refused. Each purpose has a pool of its own: searches do not wait for imports.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from PIL import Image

from search.errors import ImageTooLarge, NotAnImage, SearchUnavailable

from .messages import Head, receive, send

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")
START_S = 60  # a process needs 0.1 s; on a machine that is swamped, longer
# CPU time is what counts, since a busy machine does not shorten it. This many times as
# long after its start, a job ends by the clock.
CLOCK_FACTOR = 5
MAX_IDLE_BYTES = 100 * 2**20  # a process that keeps more after a job is replaced
MAX_JOBS = 1_000  # of one process

# Models take 224 to 384 pixels a side.
SHORT_SIDE = 384
MAX_PIXELS = 2**19
WHOLE = (0.0, 0.0, 1.0, 1.0)

TOO_SLOW = "This image takes too long to decode; please use a smaller or simpler one."
CRASHED = "This image is damaged: its decoder failed."
BUSY = "Too many images are being decoded at the moment; please try again."
UNAVAILABLE = "Images cannot be decoded at the moment."
# Signals of others, so that the image is not the cause.
FOREIGN = (0, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGINT, -signal.SIGHUP)
Result = tuple[Head, bytes]
ERRORS = {error.code: error for error in (NotAnImage, ImageTooLarge)}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SmallImage:
    """An upright RGB image in sRGB of few pixels, and the size of the whole file.

    `truncated`: the end of the file is missing, and what it held is grey.
    """

    image: Image.Image
    width: int
    height: int
    truncated: bool


class DecoderGone(Exception):
    """A decoder process ended, but not because of its image."""


class Decoder:
    """One decoder process, for one job at a time."""

    def __init__(self) -> None:
        """Start the process; raises OSError or EOFError."""
        self._connection, theirs = socket.socketpair()
        self._jobs = 0
        environment = {k: v for k, v in os.environ.items() if k in ENVIRONMENT}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "search.images.worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env={**environment, "MALLOC_ARENA_MAX": "1"},
            )
        try:
            receive(self._connection, time.monotonic() + START_S)
        except (OSError, EOFError):
            self.end()
            raise

    def run(self, job: Head, data: bytes, deadline: float) -> Result:
        """Return the result of a job.

        Raises ImageTooLarge or NotAnImage, and DecoderGone if another decoder may
        succeed. After any error but the first two the process has ended.
        """
        self._jobs += 1
        try:
            send(self._connection, job, data, deadline)
            return receive(self._connection, deadline)
        except TimeoutError as error:
            self.end()
            raise NotAnImage(TOO_SLOW) from error
        except (OSError, EOFError, ValueError) as error:
            raise self._reason() from error

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def is_worn(self, answer: Head) -> bool:
        """Return whether to replace the process after this answer."""
        return self._jobs >= MAX_JOBS or answer["resident"] > MAX_IDLE_BYTES

    def end(self) -> None:
        self.disconnect()
        self._process.kill()
        self._process.wait()

    def disconnect(self) -> None:
        """Close this process's end of the socket, which ends an idle decoder."""
        self._connection.close()

    def _reason(self) -> Exception:
        """Return why the process, which closed its socket, has ended."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = -signal.SIGABRT  # it spoke no sense, and still lives
        self.end()
        if code in FOREIGN:
            return DecoderGone()
        logger.warning("A decoder process ended with status %s", code)
        is_slow = code in (-signal.SIGPROF, -signal.SIGXCPU)
        return NotAnImage(TOO_SLOW if is_slow else CRASHED)


class DecoderPool:
    """Up to `size` decoder processes, which start when they are needed; thread-safe.

    A call may use `cpu_s` seconds of CPU time for all its files together, and waits up
    to `queue_s` for a decoder, or as long as it takes.
    """

    def __init__(self, size: int, cpu_s: float, queue_s: float | None):
        self._size, self._cpu_s, self._queue_s = size, cpu_s, queue_s
        self._all: WeakSet[Decoder] = WeakSet()
        self._reset()
        os.register_at_fork(after_in_child=self._forget)

    def _reset(self) -> None:
        self._slots = threading.BoundedSemaphore(self._size)
        self._idle: list[Decoder] = []

    def _forget(self) -> None:
        """Leave the decoders to the process that forked this one."""
        for decoder in list(self._all):
            decoder.disconnect()
        self._reset()

    def close(self) -> None:
        """End the idle decoders; later calls start others."""
        while self._idle:
            self._idle.pop().end()

    def verify(self, data: bytes) -> None:
        """Raise ImageTooLarge or NotAnImage if the header reveals that it would be."""
        self._run([({"job": "verify"}, data)])

    def shrink(
        self,
        files: Sequence[bytes],
        crops: Sequence[tuple[float, float, float, float]] | None = None,
    ) -> list[SmallImage]:
        """Decode files to images with SHORT_SIDE and MAX_PIXELS at most.

        `crops` are parts of the upright images: left, top, right, bottom from 0 to 1.
        Raises ImageTooLarge or NotAnImage for the first file that cannot be decoded,
        SearchUnavailable without a free decoder.
        """
        job = {"job": "shrink", "short_side": SHORT_SIDE, "max_pixels": MAX_PIXELS}
        jobs = [
            ({**job, "crop": crop}, data)
            for data, crop in zip(files, crops or [WHOLE] * len(files), strict=True)
        ]
        return [
            SmallImage(
                image=Image.frombytes("RGB", tuple(answer["pixels"]), content),
                width=answer["size"][0],
                height=answer["size"][1],
                truncated=answer["truncated"],
            )
            for answer, content in self._run(jobs)
        ]

    def scale(
        self,
        data: bytes,
        widths: Sequence[int],
        max_aspect: float,
        quality: int,
        effort: int,
    ) -> list[bytes]:
        """Return an image as WebP for each of the ascending widths, never enlarged.

        Equal results are the same object. Raises what `shrink` raises.
        """
        job = {"job": "scale", "widths": list(widths), "max_aspect": max_aspect}
        job |= {"quality": quality, "effort": effort}
        [(answer, content)] = self._run([(job, data)])
        files: list[bytes] = []
        for length in answer["lengths"]:
            file, content = content[:length], content[length:]
            files.append(files[-1] if files and file == files[-1] else file)
        return files

    def _run(self, jobs: Sequence[tuple[Head, bytes]]) -> list[Result]:
        """Run the jobs of a call one after the other, within its time."""
        results = []
        with self._slot():
            left_s = self._cpu_s
            for job, data in jobs:
                job["cpu_s"] = max(left_s, 0.01)
                result = self._run_twice(job, data)
                left_s -= result[0]["cpu_s"]
                results.append(result)
        return results

    def _run_twice(self, job: Head, data: bytes) -> Result:
        """Run a job again if its decoder was ended by others."""
        try:
            return self._run_one(job, data)
        except DecoderGone:
            pass
        try:
            return self._run_one(job, data)
        except DecoderGone as error:
            raise NotAnImage(CRASHED) from error

    def _run_one(self, job: Head, data: bytes) -> Result:
        decoder = self._take()
        deadline = time.monotonic() + CLOCK_FACTOR * self._cpu_s
        answer, content = decoder.run(job, data, deadline)
        if decoder.is_worn(answer):
            decoder.end()
        else:
            self._idle.append(decoder)
        if "message" in answer:
            raise ERRORS[answer["code"]](answer["message"])
        return answer, content

    def _take(self) -> Decoder:
        """Return an idle decoder, of which some may have ended, or a new one."""
        with suppress(IndexError):
            while True:
                if (decoder := self._idle.pop()).is_alive():
                    return decoder
        try:
            decoder = Decoder()
        except (OSError, EOFError) as error:
            raise SearchUnavailable(UNAVAILABLE) from error
        self._all.add(decoder)
        return decoder

    @contextmanager
    def _slot(self) -> Iterator[None]:
        slots = self._slots
        if not slots.acquire(timeout=self._queue_s):
            raise SearchUnavailable(BUSY)
        try:
            yield
        finally:
            slots.release()


CORES = os.cpu_count() or 1
# Of visitors. Imports have more time, and all of them wait for a decoder.
query_decoders = DecoderPool(min(2, CORES), cpu_s=2.0, queue_s=2.0)
thumbnail_decoders = DecoderPool(min(2, CORES), cpu_s=2.0, queue_s=10.0)
import_decoders = DecoderPool(min(4, CORES), cpu_s=10.0, queue_s=None)
