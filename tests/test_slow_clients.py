"""Connections that send slowly, or nothing, take no thread from honest visitors."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from waitress import create_server

from laionweb import slow_clients

ROOT = Path(__file__).resolve().parent.parent
ATTACKS = {
    "idle": b"",
    "header": b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    "body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
}
APP = """
def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@contextmanager
def waitress(folder: Path) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    names: dict = {}
    exec(APP, names)
    server = create_server(
        names["app"],
        sockets=[listener],
        threads=2,
        channel_timeout=1,
        cleanup_interval=1,
        asyncore_use_poll=True,
    )
    slow_clients.limit_reading(server)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        server.task_dispatcher.shutdown()


@contextmanager
def gunicorn(folder: Path) -> Iterator[int]:
    (folder / "slow_app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = str(ROOT / "deploy" / "gunicorn.conf.py")
    own = {"HOST": "127.0.0.1", "PORT": str(port), "WEB_WORKERS": "1"}
    own |= {"WEB_THREADS": "2", "WEB_READ_S": "1", "WEB_IDLE_S": "1"}
    python_path = os.pathsep.join([str(folder), str(ROOT)])
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "slow_app:app", "--config", config],
        env={**os.environ, **own, "PYTHONPATH": python_path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        wait_until(lambda: get(port) == b"ok")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def get(port: int) -> bytes:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        return connection.getresponse().read()
    except OSError:
        return b""


def closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection, with an answer or without."""
    connection.setblocking(False)
    try:
        return not connection.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("server", [waitress, gunicorn])
def test_slow_clients_take_no_thread_and_are_closed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_clients, "READ_S", 1)
    with server(tmp_path) as port:
        for start in ATTACKS.values():
            slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
            for connection in slow:
                connection.sendall(start)
            assert get(port) == b"ok"
            wait_until(lambda slow=slow: all(map(closed, slow)))


@pytest.mark.soak
@pytest.mark.parametrize("attack", ATTACKS)
def test_200_slow_connections_leave_an_honest_visitor_half_his_speed(
    live_server_process, attack
):
    port = int(live_server_process.url.rpartition(":")[2])

    def p95() -> float:
        times = []
        for _ in range(60):
            started = time.perf_counter()
            assert get(port)
            times.append(time.perf_counter() - started)
        return float(np.percentile(times, 95))

    p95()
    usual = p95()
    stopped = threading.Event()

    def drip() -> None:
        slow: list[socket.socket] = []
        while not stopped.wait(1):
            while len(slow) < 200:
                slow.append(socket.create_connection(("127.0.0.1", port)))
                slow[-1].sendall(ATTACKS[attack])
            for connection in list(slow):
                try:
                    connection.sendall(b"x" * (attack != "idle"))
                except OSError:
                    slow.remove(connection)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        time.sleep(3)
        attacked = p95()
    finally:
        stopped.set()
        thread.join()
    print(f"{attack}: p95 {usual * 1000:.0f} ms, attacked {attacked * 1000:.0f} ms")
    assert attacked < 2 * usual
