"""The process behind encode_text and encode_image in ClickHouse.

It answers chunks for as long as its input is open. A chunk is the number of its rows
in digits, a line feed, and the rows in RowBinary; the answer is as many arrays of
float32 in RowBinary. What is written to the standard error fails the query with these
words and leaves the process, and its model, in the pool.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from search.encoder import local_encoder
from search.errors import InvalidQuery, SearchError
from search.images import decode

ENCODED_TOGETHER = 8  # and sent, so that a long chunk does not look like silence
MAX_SHOWN_LENGTH = (
    200  # characters of a path; the engine reads 4 KB of complaints at once
)

Encode = Callable[[list[bytes]], np.ndarray]


def main() -> None:
    # Ctrl-C in a shell over the embedded engine is for the shell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")
    os.environ.setdefault("SECRET_KEY", "nothing is signed here")  # and none is made
    encode = encode_from(arguments())
    answers, complaints = own_outputs()
    try:
        while chunk_size := sys.stdin.buffer.readline():
            answer_chunk(int(chunk_size), encode, answers, complaints)
    # A traceback would go where the libraries' warnings go.
    except Exception as error:
        complaints.write(f"{type(error).__name__}: {error}".encode())
        raise SystemExit(1) from error
    # torch takes a second to come down in good order, and the engine waits for us.
    os._exit(0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["text", "image"])
    parser.add_argument("--model", default=os.environ.get("ENCODE_MODEL"))
    parser.add_argument("--weights", default=os.environ.get("ENCODE_WEIGHTS", ""))
    parser.add_argument("--pictures", default=os.environ.get("ENCODE_PICTURES"))
    given = parser.parse_args()
    if not given.model:
        parser.exit(1, "Set ENCODE_MODEL to the model of the dataset.\n")
    if given.kind == "image" and not given.pictures:
        parser.exit(1, "Set ENCODE_PICTURES to the folder of the pictures.\n")
    return given


def encode_from(given: argparse.Namespace) -> Encode:
    encoder = local_encoder(given.model, given.weights)

    def texts(rows: list[bytes]) -> np.ndarray:
        return encoder.encode_texts([row.decode(errors="replace") for row in rows])

    def images(rows: list[bytes]) -> np.ndarray:
        folder = Path(given.pictures).resolve()
        return encoder.encode_images([picture_at(folder, row) for row in rows])

    return texts if given.kind == "text" else images


def picture_at(folder: Path, row: bytes) -> Image.Image:
    """Return the image at a path below the folder, relative to it or absolute."""
    name = os.fsdecode(row)
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise InvalidQuery(f"only pictures in the folder {folder} can be used.")
        if not path.is_file():
            raise InvalidQuery(f"there is no such file in {folder}.")
        with path.open("rb") as file:
            return decode.decode(file.read(decode.MAX_BYTES + 1))
    except InvalidQuery as error:
        raise InvalidQuery(f"{shown(name)}: {error.message}") from error
    except (OSError, ValueError) as error:
        raise InvalidQuery(f"{shown(name)} cannot be read in {folder}.") from error


def shown(name: str) -> str:
    return (
        f"“{name if len(name) <= MAX_SHOWN_LENGTH else name[:MAX_SHOWN_LENGTH] + '…'}”"
    )


def own_outputs() -> tuple[BinaryIO, BinaryIO]:
    """Keep standard output and error for this script alone.

    Libraries warn and chat on both, which would break an answer or fail a query.
    """
    answers, complaints = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(2), "wb", 0)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    return answers, complaints


def answer_chunk(
    size: int, encode: Encode, answers: BinaryIO, complaints: BinaryIO
) -> None:
    """One complaint a chunk: what the engine leaves unread would fail the next query.

    Every row has an answer even so, else the engine would start a new process.
    """
    strings = read_strings(size, sys.stdin.buffer)
    failed = False
    while rows := list(islice(strings, ENCODED_TOGETHER)):
        vectors = [b""] * len(rows)
        if not failed:
            try:
                vectors = [vector.tobytes() for vector in encode(rows)]
            except SearchError as error:
                failed = True
                complaints.write(error.message.encode(errors="replace"))
        answers.writelines(varint(len(vector) // 4) + vector for vector in vectors)
        answers.flush()


def read_strings(count: int, stream: BinaryIO) -> Iterator[bytes]:
    for _ in range(count):
        yield stream.read(read_varint(stream))


def read_varint(stream: BinaryIO) -> int:
    """Seven bits a byte, the lowest first; the last byte is below 128."""
    number = shift = 0
    while True:
        byte = stream.read(1)[0]
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift += 7


def varint(number: int) -> bytes:
    groups = bytearray()
    while number >= 128:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


if __name__ == "__main__":
    main()
