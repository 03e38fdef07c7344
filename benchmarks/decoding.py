"""Decode JPEGs for a model, in decoder processes and in threads of this process.

    .venv/bin/python benchmarks/decoding.py [--images 600]

In threads, images are decoded whole, and nothing ends a decoder. Prints the images a
second and the CPU milliseconds of an image, the best of three rounds in turn.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image, ImageOps  # noqa: E402

from search.images.decoders import MAX_PIXELS, SHORT_SIDE, DecoderPool  # noqa: E402

SIZES = ((640, 480), (1024, 768), (2048, 1536), (4000, 3000))
DIFFERENT = 4
ROUNDS = 3
CORES = os.cpu_count() or 1
THREADS = 32  # as of an import


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600, help="of the least size")
    count = parser.parse_args().images
    print(f"{'size':12} {'kB':>6} {'in threads':>22} {'in processes':>22} {'ratio':>6}")
    for width, height in SIZES:
        files = [jpeg(width, height) for _ in range(DIFFERENT)]
        pixels = SIZES[0][0] * SIZES[0][1]
        batch = files * max(10, count * pixels // (width * height) // DIFFERENT)
        rounds = [(in_threads(batch), in_processes(batch)) for _ in range(ROUNDS)]
        (old, old_ms), (new, new_ms) = (
            (max(rate for rate, _ in each), min(cpu_ms for _, cpu_ms in each))
            for each in zip(*rounds, strict=True)
        )
        print(
            f"{f'{width} × {height}':12} {len(files[0]) / 1000:6.0f}"
            f" {old:7.1f}/s {old_ms:7.1f} CPU ms {new:7.1f}/s {new_ms:7.1f} CPU ms"
            f" {new / old:6.2f}",
            flush=True,
        )


def in_threads(files: list[bytes]) -> tuple[float, float]:
    with ThreadPoolExecutor(min(4, CORES)) as pool:
        return measured(len(files), lambda: list(pool.map(decode_whole, files)))


def in_processes(files: list[bytes]) -> tuple[float, float]:
    """Measure decoders that have started, but count the CPU time of starting, too."""
    decoders, cpu = DecoderPool(min(4, CORES), cpu_s=10, queue_s=None), cpu_s()

    def decode(file: bytes) -> object:
        return decoders.shrink([file])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decode, files[:THREADS]))
        rate, _ = measured(len(files), lambda: list(pool.map(decode, files)))
    decoders.close()  # the system counts what an ended process used
    return rate, (cpu_s() - cpu) / (len(files) + len(files[:THREADS])) * 1000


def measured(count: int, work: Callable[[], object]) -> tuple[float, float]:
    """Return units a second, and the CPU milliseconds of one."""
    started, cpu = time.perf_counter(), cpu_s()
    work()
    return count / (time.perf_counter() - started), (cpu_s() - cpu) / count * 1000


def cpu_s() -> float:
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(each.ru_utime + each.ru_stime for each in used)


def decode_whole(data: bytes) -> Image.Image:
    image = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    width, height = image.size
    scale = min(SHORT_SIDE / min(width, height), (MAX_PIXELS / width / height) ** 0.5)
    size = round(width * min(scale, 1)), round(height * min(scale, 1))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)


def jpeg(width: int, height: int) -> bytes:
    """Return a blurred pattern with grain, about as large as a photograph."""
    soft = Image.effect_noise((width // 8, height // 8), 120)
    soft = soft.resize((width, height), Image.Resampling.BICUBIC)
    image = Image.merge("RGB", [soft, soft.transpose(0), soft.transpose(1)])
    grain = Image.effect_noise((width, height), 25).convert("RGB")
    file = BytesIO()
    Image.blend(image, grain, 0.15).save(file, "JPEG", quality=88)
    return file.getvalue()


if __name__ == "__main__":
    main()
