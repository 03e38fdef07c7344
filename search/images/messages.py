"""Messages between a process and its decoder processes, through a socket.

A message is the lengths of its two parts, a head in JSON and a body of bytes.
"""

import json
import socket
import struct
import time
from typing import Any

LENGTHS = struct.Struct(">II")
MAX_HEAD_BYTES = 2**16
MAX_BODY_BYTES = 16 * 2**20  # more than any file or result

Head = dict[str, Any]


def send(
    connection: socket.socket, head: Head, body: bytes, deadline: float | None = None
) -> None:
    """Send a message; raise TimeoutError at the deadline of the monotonic clock."""
    text = json.dumps(head).encode()
    for part in (LENGTHS.pack(len(text), len(body)) + text, body):
        _set_timeout(connection, deadline)
        connection.sendall(part)


def receive(
    connection: socket.socket, deadline: float | None = None
) -> tuple[Head, bytes]:
    """Wait for a message; raise EOFError when the other side is gone."""
    lengths = LENGTHS.unpack(_exactly(connection, LENGTHS.size, deadline))
    if lengths[0] > MAX_HEAD_BYTES or lengths[1] > MAX_BODY_BYTES:
        raise EOFError("the other side does not speak this protocol")
    head, body = (_exactly(connection, length, deadline) for length in lengths)
    return json.loads(head), body


def _exactly(connection: socket.socket, length: int, deadline: float | None) -> bytes:
    data = bytearray(length)
    view, received = memoryview(data), 0
    while received < length:
        _set_timeout(connection, deadline)
        count = connection.recv_into(view[received:])
        if not count:
            raise EOFError("the other side is gone")
        received += count
    return bytes(data)


def _set_timeout(connection: socket.socket, deadline: float | None) -> None:
    if deadline is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
