"""The process behind encode_text and encode_image in ClickHouse.

It reads chunks until its input ends. A chunk is the number of its rows in digits, a
line feed, and the rows in RowBinary; the answer is as many arrays of float32 in
RowBinary. Text on standard error fails the query with this message, and the process
stays in the pool with its model.
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
from search.images.decoders import import_decoders
from search.images.formats import MAX_BYTES

BATCH_SIZE = 8  # small, so that the engine gets output from a long chunk in time
MAX_SHOWN_LENGTH = 200  # characters of a path; the engine reads 4 KB of errors at once

Encode = Callable[[list[bytes]], np.ndarray]


def main() -> None:
    # Ctrl-C in a shell on the embedded engine is meant for the shell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")
    os.environ.setdefault("SECRET_KEY", "nothing is signed here")  # else one is created
    encode = encode_function(arguments())
    answers, errors = private_outputs()
    try:
        while chunk_size := sys.stdin.buffer.readline():
            answer_chunk(int(chunk_size), encode, answers, errors)
    # A traceback would be discarded, as are the libraries' warnings.
    except Exception as error:
        errors.write(f"{type(error).__name__}: {error}".encode())
        raise SystemExit(1) from error
    # The engine waits for the exit, for which torch takes a second otherwise.
    os._exit(0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["text", "image"])
    parser.add_argument("--model", default=os.environ.get("ENCODE_MODEL"))
    parser.add_argument("--weights", default=os.environ.get("ENCODE_WEIGHTS", ""))
    parser.add_argument("--pictures", default=os.environ.get("ENCODE_PICTURES"))
    options = parser.parse_args()
    if not options.model:
        parser.exit(1, "Set ENCODE_MODEL to the model of the dataset.\n")
    if options.kind == "image" and not options.pictures:
        parser.exit(1, "Set ENCODE_PICTURES to the folder of the images.\n")
    return options


def encode_function(options: argparse.Namespace) -> Encode:
    encoder = local_encoder(options.model, options.weights)

    def texts(rows: list[bytes]) -> np.ndarray:
        return encoder.encode_texts([row.decode(errors="replace") for row in rows])

    def images(rows: list[bytes]) -> np.ndarray:
        folder = Path(options.pictures).resolve()
        return encoder.encode_images([read_image(folder, row) for row in rows])

    return texts if options.kind == "text" else images


def read_image(folder: Path, row: bytes) -> Image.Image:
    """Return the image at a path below the folder, relative to it or absolute."""
    name = os.fsdecode(row)
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise InvalidQuery(f"only images in the folder {folder} can be used.")
        if not path.is_file():
            raise InvalidQuery(f"there is no such file in {folder}.")
        with path.open("rb") as file:
            [small] = import_decoders.shrink([file.read(MAX_BYTES + 1)])
            return small.image
    except InvalidQuery as error:
        raise InvalidQuery(f"{quoted(name)}: {error.message}") from error
    except (OSError, ValueError) as error:
        raise InvalidQuery(f"{quoted(name)} cannot be read in {folder}.") from error


def quoted(name: str) -> str:
    is_long = len(name) > MAX_SHOWN_LENGTH
    return f"“{name[:MAX_SHOWN_LENGTH]}{'…' if is_long else ''}”"


def private_outputs() -> tuple[BinaryIO, BinaryIO]:
    """Reserve standard output and error for this script.

    What libraries print would break an answer or fail a query.
    """
    answers, errors = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(2), "wb", 0)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    return answers, errors


def answer_chunk(
    size: int, encode: Encode, answers: BinaryIO, errors: BinaryIO
) -> None:
    """Answer one chunk, with at most one error message.

    The engine would read a second one as an error of the next query. Every row gets an
    answer, also after an error, because otherwise the engine starts a new process.
    """
    strings = read_strings(size, sys.stdin.buffer)
    failed = False
    while rows := list(islice(strings, BATCH_SIZE)):
        vectors = [b""] * len(rows)
        if not failed:
            try:
                vectors = [vector.tobytes() for vector in encode(rows)]
            except SearchError as error:
                failed = True
                errors.write(error.message.encode(errors="replace"))
        answers.writelines(varint(len(vector) // 4) + vector for vector in vectors)
        answers.flush()


def read_strings(count: int, stream: BinaryIO) -> Iterator[bytes]:
    for _ in range(count):
        yield stream.read(read_varint(stream))


def read_varint(stream: BinaryIO) -> int:
    """Read LEB128: seven bits a byte, the lowest first; the last byte is below 128."""
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
