"""The ways to an embedding that are compared, each with all it needs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from django.conf import settings

from search.encoder import Encoder
from search.encoder.openclip import OpenClipEncoder
from search.encoder.queue import WORKERS
from search.encoder.remote import CeleryEncoder

START_S = 180
HERE, FULL = "in this process", "in this process, all 77 positions"
BATCHED, SINGLE = "Celery, in batches", "Celery, one by one"


@dataclass
class Place:
    name: str
    encoder: Encoder
    broker: str = ""
    processes: list[int] = field(default_factory=list)  # besides this one

    def use(self) -> None:
        settings.CELERY_BROKER_URL = self.broker or "memory://"
        settings.SEARCH_ENCODER = (
            f"{type(self.encoder).__module__}.{type(self.encoder).__qualname__}"
        )

    def cpu_s(self) -> float:
        """Return the CPU seconds of all processes."""
        return time.process_time() + sum(map(cpu_s, self.processes))


def cpu_s(process: int) -> float:
    """Return the CPU seconds of a process, user and system, as Linux counts them."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class FullLength(OpenClipEncoder):
    """As others do it: every text is as long as the longest can be."""

    def encode_texts(self, texts: list[str]):
        import torch

        loaded = self._loaded
        tokens = loaded.tokenizer(texts).to(loaded.device)
        with torch.inference_mode():
            return (
                loaded.model.encode_text(tokens, normalize=True).float().cpu().numpy()
            )


@contextmanager
def sites(folder: Path, model: str) -> Iterator[list[Place]]:
    """Yield the places to encode, while Redis and two workers run."""
    with ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(
            started(
                folder, "redis", ["redis-server", "--port", str(port), "--save", ""]
            )
        )
        places = [Place(HERE, OpenClipEncoder(model)), Place(FULL, FullLength(model))]
        for number, (name, batch) in enumerate({BATCHED: 64, SINGLE: 1}.items()):
            broker = f"redis://127.0.0.1:{port}/{number}"
            command = [sys.executable, "-m", "celery", "-A", "laionweb", "worker"]
            command += ["-Q", "encode", "-P", "solo", "-n", f"{number}@bench"]
            more = {"CELERY_BROKER_URL": broker, "ENCODER_BATCH": str(batch)}
            worker = stack.enter_context(started(folder, f"{number}", command, more))
            wait_for_worker(broker)
            pids = [server.pid, worker.pid]
            places.append(Place(name, CeleryEncoder(model), broker, pids))
        for place in places:
            warm_up(place)
        yield places


def warm_up(place: Place) -> None:
    """Send a first request, which loads the model and may time out."""
    place.use()
    settings.ENCODER_WAIT_S = START_S
    place.encoder.encode_texts(["warm up"])
    settings.ENCODER_WAIT_S = 600.0  # so that what is slow is measured, not refused


@contextmanager
def started(
    folder: Path, name: str, command: list[str], more: dict[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | (more or {})
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_worker(broker: str) -> None:
    deadline = time.monotonic() + START_S
    with redis.Redis.from_url(broker) as client:
        while time.monotonic() < deadline:
            try:
                if client.zcard(WORKERS):
                    return
            except redis.RedisError:
                pass  # it starts, too
            time.sleep(0.1)
    raise SystemExit("The encode worker did not start.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
