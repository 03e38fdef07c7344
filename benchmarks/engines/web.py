"""laionweb over HTTP: its server in a thread, the clients in other processes."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

import numpy as np

from search.management.commands.serve import listen, make_server
from search.query.model import encode_embedding

from .data import COUNT, FILTERS
from .ours import body, default_body
from .system import System

HOST = "127.0.0.1"
PATH = "/api/search/"
SCRIPT = Path(__file__).parent / "http_client.py"


class Server:
    """The product's own waitress, on a free port, and programs that ask it."""

    def __init__(self, most_clients: int):
        # Requests that wait for a thread are the point of a burst.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        listener = listen(HOST, 0)
        self.server = make_server(listener, HOST)
        Thread(target=self.server.run, daemon=True).start()
        port = listener.getsockname()[1]
        self.clients = [Client(port) for _ in range(most_clients)]

    def close(self) -> None:
        for client in self.clients:
            client.process.stdin.close()
            client.process.wait()
        self.server.close()


class Client:
    """A process with one connection that it keeps."""

    def __init__(self, port: int):
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), HOST, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, line: str) -> None:
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> dict:
        answer = json.loads(self.process.stdout.readline())
        if answer.get("status", 200) != 200:
            raise RuntimeError(f"The server answered {answer}.")
        return answer


class Post(System):
    """POST /api/search/ with JSON, from a program with an embedding."""

    name = "HTTP request, POST"

    def __init__(self, server: Server, slug: str):
        self.server, self.slug = server, slug

    def request(self, vector: np.ndarray, where: str) -> dict:
        return post(body(self.slug, vector, where))

    def prepare(self, vector: np.ndarray, where: str) -> None:
        self.line = json.dumps({"requests": [self.request(vector, where)]})

    def search(self, vector: np.ndarray, where: str) -> list[int]:
        client = self.server.clients[0]
        client.order(self.line)
        answer = client.answer()
        self.took_ms, self.next = answer["ms"], answer["next"]
        return answer["ids"]

    def wall_ms(self, measured: float) -> float:
        """Return the milliseconds that the client measured, without its pipe."""
        return self.took_ms

    def burst(
        self, clients: int, vectors: np.ndarray, where: str, seconds: float
    ) -> float:
        requests = [self.request(vector, where) for vector in vectors]
        for number, client in enumerate(self.server.clients[:clients]):
            turned = requests[number:] + requests[:number]
            client.order(json.dumps({"requests": turned, "seconds": seconds}))
        done = [client.answer() for client in self.server.clients[:clients]]
        return sum(answer["count"] / answer["seconds"] for answer in done)


class Get(Post):
    """GET with the embedding as base64url: what the page's addresses look like."""

    name = "HTTP request, GET"

    def request(self, vector: np.ndarray, where: str) -> dict:
        parameters = {
            "dataset": self.slug,
            "embedding": encode_embedding(vector),
            "nsfw": "any",
            "dedupe": "false",
            "limit": COUNT,
            **FILTERS[where],
        }
        return {"method": "GET", "path": f"{PATH}?{urlencode(parameters)}"}


class PageAsks(Post):
    name = "HTTP request as the page asks"
    filters = ("none",)
    answers = False

    def request(self, vector: np.ndarray, where: str) -> dict:
        return post(default_body(self.slug, vector))


class NextOfPage(PageAsks):
    """The page after the one that PageAsks fetches, from its cursor."""

    name = "HTTP request as the page asks, next page"
    in_bursts = False

    def prepare(self, vector: np.ndarray, where: str) -> None:
        super().prepare(vector, where)
        super().search(vector, where)
        again = {"dataset": self.slug, "terms": [], "cursor": self.next}
        self.line = json.dumps({"requests": [post(again)]})


def post(body: dict) -> dict:
    return {"method": "POST", "path": PATH, "body": json.dumps(body)}


KINDS = (Post, Get, PageAsks, NextOfPage)
