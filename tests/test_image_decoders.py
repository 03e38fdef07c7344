"""Decoder processes: what a file may cost, and what becomes of one that is killed."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pillow_heif
import pillow_jxl  # noqa: F401  # it registers itself
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.bombs import BOMBS, QUICK, encoded, scans_jpeg
from support.production import wait_until

from search.errors import ImageTooLarge, NotAnImage, SearchError, SearchUnavailable
from search.images import decoders
from search.images.decode import decode
from search.images.decoders import SHORT_SIDE, Decoder, DecoderPool

pillow_heif.register_heif_opener()
MAX_CPU_S = 3.0  # of a request
MAX_PEAK_MB = 300
GOOD = encoded(Image.new("RGB", (40, 30), "red"), "JPEG")
SLOW = scans_jpeg(6300, 99)  # takes half a second
NOISE = Image.effect_noise((48, 32), 60).convert("RGB")
WHOLE = {
    kind: encoded(NOISE, kind)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "TIFF", "BMP", "JXL")
}
FUZZED = DecoderPool(1, 2.0, None)
pytestmark = pytest.mark.usefixtures("processes")


def pool_of(cpu_s: float = 2.0, queue_s: float | None = 5) -> DecoderPool:
    return DecoderPool(1, cpu_s, queue_s)


def only_process(pool: DecoderPool) -> int:
    (decoder,) = [each for each in pool._all if each.is_alive()]
    return decoder._process.pid


def cost(data: bytes) -> tuple[str, float, float]:
    """Return what becomes of a file, and CPU seconds and peak MB of its own process."""
    job = {"job": "shrink", "short_side": SHORT_SIDE, "max_pixels": decoders.MAX_PIXELS}
    job |= {"crop": decoders.WHOLE, "cpu_s": 2.0}
    decoder = Decoder()
    status = Path(f"/proc/{decoder._process.pid}/status")
    peaks = [0.0]

    def watch() -> None:
        with suppress(OSError):  # until it is gone
            while found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):
                peaks.append(int(found[1]) / 1024)
                time.sleep(0.005)

    before = children_cpu_s()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answer, _ = decoder.run(job, data, time.monotonic() + 60)
        result = answer.get("message", "decoded")
    except SearchError as error:
        result = error.message
    decoder.end()
    watcher.join()
    return result, children_cpu_s() - before, peaks[-1]


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check_costs(names) -> dict[str, str]:
    """Check the cost of files; return what became of them."""
    results = {}
    for name in names:
        results[name], cpu_s, peak_mb = cost(BOMBS[name]())
        print(f"{name:42} {cpu_s:5.2f} s {peak_mb:5.0f} MB  {results[name]}")
        assert cpu_s < MAX_CPU_S, name
        assert peak_mb < MAX_PEAK_MB, name
    return results


def test_no_file_costs_more_than_the_limits():
    results = check_costs(QUICK)
    assert "more than 100 scans" in results["JPEG of 8,561 scans"]
    assert "more than 20,000 chunks" in results["PNG of 800,000 chunks"]
    assert "more than 65,536 strips" in results["TIFF of 1,000,000 strips"]
    assert "up to 15 megapixels" in results["WebP of 40 megapixels"]
    for format_name in ("AVIF", "HEIC"):
        claim = results[f"{format_name} that claims 64 megapixels"]
        assert claim.startswith("The image has 8000 × 8000 pixels; up to 25")
    assert results["PNG of 40 megapixels"] == results["GIF of comments"] == "decoded"


def test_memory_comes_back_after_a_large_image():
    pool = pool_of()
    pool.shrink([BOMBS["WebP of 15 megapixels"](), GOOD])
    status = Path(f"/proc/{only_process(pool)}/status").read_text()
    assert int(re.search(r"VmRSS:\s+(\d+)", status)[1]) < 100 * 1024


@pytest.mark.soak
@given(data=st.data())
@settings(max_examples=3_000, deadline=None)
def test_changed_bytes_are_an_image_or_refused(data):
    """In all formats, some of whose libraries may crash over them."""
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    changed = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(
            st.integers(0, 255)
        )
    with suppress(NotAnImage, ImageTooLarge):
        FUZZED.shrink([bytes(changed)])
    assert FUZZED.shrink([GOOD])[0].width == 40


@pytest.mark.soak
def test_none_of_many_files_costs_more_than_the_limits():
    check_costs(BOMBS)


def test_images_of_a_call_share_its_time_and_the_next_call_has_a_new_decoder():
    pool = pool_of(cpu_s=0.1)
    assert pool.shrink([GOOD] * 4)[3].image.size == (40, 30)
    first = only_process(pool)
    with pytest.raises(NotAnImage, match="takes too long"):
        pool.shrink([GOOD, SLOW])
    assert pool.shrink([GOOD])[0].image.getpixel((20, 15)) == (254, 0, 0)
    assert only_process(pool) != first


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (signal.SIGSEGV, "its decoder failed"),
        (signal.SIGKILL, "(3150, 3150)"),  # of others, so another decoder tries
    ],
)
def test_a_decoder_that_dies_over_an_image(number, outcome):
    pool = pool_of(cpu_s=60)
    pool.shrink([GOOD])
    victim = only_process(pool)
    with ThreadPoolExecutor(1) as user:
        job = user.submit(pool.shrink, [scans_jpeg(3150, 99) for _ in range(4)])
        wait_until("it decodes", lambda: cpu_s_of(victim) > 0.15)
        os.kill(victim, number)
        if number == signal.SIGKILL:
            image = job.result()[3]
            assert str((image.width, image.height)) == outcome
        else:
            with pytest.raises(NotAnImage, match=outcome):
                job.result()
    assert pool.shrink([GOOD])[0].width == 40


def cpu_s_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_a_free_decoder_a_call_is_refused_soon():
    pool = pool_of(cpu_s=60, queue_s=0.05)
    with ThreadPoolExecutor(1) as user:
        job = user.submit(pool.shrink, [SLOW, GOOD])
        wait_until("it decodes", lambda: len(pool._all) == 1)
        with pytest.raises(SearchUnavailable, match="Too many images"):
            pool.shrink([GOOD])
        assert len(job.result()) == 2
    assert pool.shrink([GOOD])


def test_a_forked_process_starts_decoders_of_its_own():
    pool = pool_of()
    pool.shrink([GOOD])
    ours = only_process(pool)
    child = os.fork()
    if not child:
        fine = pool.shrink([GOOD])[0].width == 40 and only_process(pool) != ours
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    pool.shrink([GOOD])
    assert only_process(pool) == ours


def test_decoders_end_with_the_process_that_started_them():
    script = (
        "import sys, time; from search.images.decoders import query_decoders as pool\n"
        "pool.shrink([sys.stdin.buffer.read()])\n"
        "print([each._process.pid for each in pool._all][0], flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process.stdin.write(GOOD)
    process.stdin.close()
    decoder = Path(f"/proc/{int(process.stdout.readline())}")
    assert decoder.exists()
    process.kill()
    process.wait()
    wait_until("it has ended", lambda: not decoder.exists())


def test_a_decoder_has_no_secrets_and_cannot_write(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "a secret")
    pool = pool_of()
    pool.shrink([GOOD])
    process = Path(f"/proc/{only_process(pool)}")
    assert b"secret" not in (process / "environ").read_bytes()
    limits = (process / "limits").read_text()
    assert re.search(r"Max data size +272629760 +272629760", limits)
    assert re.search(r"Max file size +0 +0", limits)
    assert re.search(r"Max core file size +0 +0", limits)
    opened = {os.readlink(each) for each in (process / "fd").iterdir()}
    assert {name.partition(":")[0] for name in opened} == {"/dev/null", "socket"}


def test_what_is_refused_by_its_header_leaves_the_decoder_alive():
    pool = pool_of()
    with pytest.raises(ImageTooLarge, match="10 MB"):
        pool.shrink([bytes(10 * 2**20 + 1)])
    with pytest.raises(NotAnImage, match="Could not read this file"):
        pool.verify(b"hello")
    assert pool.verify(GOOD) is None


def test_jpeg_xl_needs_a_plugin_that_not_every_server_has(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(NotAnImage, match="pillow-jxl-plugin is not installed"):
        decode(WHOLE["JXL"])
