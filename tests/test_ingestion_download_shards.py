"""Shards by their address: their files, patterns and checksums."""

from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.file_server import Cancelled, answer, cancelling_at, file_names, status

from search.errors import ShardUnreadable
from search.ingestion.sources.laion import LaionUrl, read_checksums
from search.ingestion.sources.registry import source_of
from search.models import Dataset

ROWS, DIMENSION = 40, 8


def shard_files(folder: Path, number: int, seed: int = 1) -> dict[str, bytes]:
    """Return the three files of a shard by their paths on a server."""
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((2, ROWS, DIMENSION)).astype(np.float16)
    named = {"img_emb": vectors[0], "text_emb": vectors[1]}
    files = {}
    for kind, matrix in named.items():
        np.save(folder / "drawn.npy", matrix)
        path = f"/data/{kind}/{kind}_{number}.npy"
        files[path] = (folder / "drawn.npy").read_bytes()
    table = pa.table({"url": ["u"] * ROWS, "caption": [f"c{i}" for i in range(ROWS)]})
    pq.write_table(table, folder / "drawn.parquet")
    metadata = (folder / "drawn.parquet").read_bytes()
    return files | {f"/data/metadata/metadata_{number}.parquet": metadata}


@pytest.fixture
def shards(file_server, tmp_path):
    """Return a function for sources of shard 3, which is fetched into `folder`."""
    file_server.files |= shard_files(tmp_path, 3)

    def source(**more) -> LaionUrl:
        return LaionUrl(f"{file_server.base}/data/", "0-9", shards.folder, **more)

    shards = source
    shards.folder = tmp_path / "work"
    return shards


def test_a_shard_is_fetched_opened_and_deleted(shards):
    reports = []
    source = shards(progress=lambda *progress: reports.append(progress))
    shard = source.open(3, DIMENSION)
    assert (len(shard), len(shard.bad_rows)) == (ROWS, 0)
    size = sum(path.stat().st_size for path in shards.folder.glob("*_3.*[yt]"))
    assert reports[0][1] is None and reports[-1] == (size, size)
    source.discard(3)
    assert file_names(shards.folder) == []
    batches = list(shard.batches(0))  # the open files are still read
    assert [len(batch.rows) for batch in batches] == [ROWS]
    assert batches[0].table["caption"].to_pylist()[-1] == "c39"


def test_files_are_kept_on_request_and_not_fetched_again(shards, file_server):
    source = shards(keep_files=True)
    source.open(3, DIMENSION)
    source.discard(3)
    assert len(file_names(shards.folder)) == 6
    source.open(3, DIMENSION)
    assert all(request.headers["If-None-Match"] for request in file_server.requests[3:])


def test_the_fingerprint_is_of_the_content_alone(shards, file_server, tmp_path):
    def opened(**more) -> str:
        source = shards(**more)
        made = source.open(3, DIMENSION).fingerprint
        source.discard(3)
        return made

    first = opened()
    file_server.otherwise = partial(answer, etag='"another"')
    assert opened() == first
    file_server.otherwise = partial(answer, etag=None)
    assert opened() == first
    file_server.files |= shard_files(tmp_path, 3, seed=2)
    assert opened() != first
    assert len(first) <= 64


def test_a_second_run_fetches_only_what_is_missing(shards, file_server):
    source = shards()
    file_server.script = [answer, partial(answer, cut=50), *[partial(status, code=404)]]
    with pytest.raises(ShardUnreadable):
        source.open(3, DIMENSION)
    assert file_names(shards.folder) == []  # broken for good: nothing is left
    source.progress = cancelling_at(2_000)
    with pytest.raises(Cancelled):
        source.open(3, DIMENSION)
    before = len(file_server.requests)
    source.progress = lambda done, total: None
    assert len(source.open(3, DIMENSION)) == ROWS
    assert file_server.requests[before].headers["If-None-Match"]


def test_patterns_name_the_files(shards, file_server):
    for path in [path for path in file_server.files if "_3." in path]:
        name = path.rpartition("/")[2].replace("_3.", "-0003.")
        file_server.files[f"/data/all/{name}"] = file_server.files.pop(path)
    source = shards(
        image="all/img_emb-{n:04d}.npy",
        text="all/text_emb-{n:04d}.npy?download=1",
        metadata="all/metadata-{n:04d}.parquet",
    )
    file_server.files["/data/all/text_emb-0003.npy?download=1"] = file_server.files[
        "/data/all/text_emb-0003.npy"
    ]
    assert len(source.open(3, DIMENSION)) == ROWS
    assert source.shards() == list(range(10))


def test_without_a_pattern_of_text_embeddings_none_are_fetched(shards, file_server):
    source = shards(text="", columns={"caption": "url"})
    shard = source.open(3, DIMENSION)
    assert not shard.has_text_vectors
    assert [each.path.rpartition("/")[2] for each in file_server.requests] == [
        "metadata_3.parquet",
        "img_emb_3.npy",
    ]
    (batch,) = shard.batches(0)
    assert batch.table.to_pydict()["caption"] == ["u"] * ROWS
    assert batch.text is batch.image


@pytest.mark.parametrize(
    "pattern",
    [
        "img_emb.npy",
        "/img_emb_{n}.npy",
        "../{n}.npy",
        "{n}{m}.npy",
        "{n.__class__}",
        "{n:9999999d}",
        "{n!r}",
        "{n}{{}}",
        "img emb {n}",
        "{n}\r\nHost: elsewhere",
        "{n}#",
        "",
    ],
)
def test_what_is_no_pattern_is_said_to_be_none(pattern, tmp_path):
    with pytest.raises(ShardUnreadable, match="has no {n}|not a path"):
        LaionUrl("http://example.org/", "0", tmp_path, image=pattern)


@pytest.mark.parametrize(
    "base",
    [
        "",
        "example.org/data",
        "file:///etc",
        "ftp://example.org/",
        "http://",
        "http://example.org:port/",
        "http://[::1/",
        "http://user:password@example.org/",
        "http://example.org/?key=1",
        "http://example.org/#top",
        "http://example.org/a b",
    ],
)
def test_what_is_no_base_address_is_said_to_be_none(base, tmp_path):
    with pytest.raises(ShardUnreadable, match="http or https|must have no"):
        LaionUrl(base, "0", tmp_path)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("img_emb/img_emb_3.npy", b"<html>Log in</html>", "not a .npy file"),
        ("metadata/metadata_3.parquet", b"<html>Log in</html>", "damaged"),
    ],
)
def test_a_page_instead_of_a_file_is_refused(shards, file_server, path, body, reason):
    file_server.files[f"/data/{path}"] = body
    with pytest.raises(ShardUnreadable, match=reason):
        shards(keep_files=True).open(3, DIMENSION)
    assert file_names(shards.folder) == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_length_that_is_too_short_is_found_out_by_the_format(
    shards, file_server, number
):
    file_server.script = [answer] * number + [partial(answer, longer=-10)]
    with pytest.raises(ShardUnreadable, match="damaged"):
        shards().open(3, DIMENSION)
    assert file_names(shards.folder) == []


def test_a_shard_that_the_server_lacks_is_refused(shards):
    with pytest.raises(ShardUnreadable, match="404.*metadata_4.parquet"):
        shards().open(4, DIMENSION)


def test_checksums_are_compared_by_path_or_name(shards, file_server):
    listed = "\n".join(
        f"{sha256(body).hexdigest()}  .{path.removeprefix('/data')}"
        for path, body in file_server.files.items()
    )
    right = read_checksums(listed)
    assert len(shards(checksums=right).open(3, DIMENSION)) == ROWS
    wrong = {"text_emb_3.npy": sha256(b"").hexdigest()}
    with pytest.raises(ShardUnreadable, match="text_emb_3.npy has the sha256"):
        shards(checksums=wrong).open(3, DIMENSION)


def test_a_list_of_checksums_beside_the_files_is_heeded(
    shards, file_server, settings, tmp_path
):
    settings.VAR_DIR = tmp_path
    dataset = Dataset(slug="tiny", source=f"{file_server.base}/data/", shard_range="3")
    assert source_of(dataset).checksums == {}
    folder = tmp_path / "fetched" / "tiny"
    folder.mkdir(parents=True)
    (folder / "sha256sums").write_text(f"{'ab' * 32}  img_emb_3.npy\n")
    with pytest.raises(ShardUnreadable, match="img_emb_3.npy has the sha256"):
        source_of(dataset).open(3, DIMENSION)


def test_what_is_no_list_of_checksums_is_said_to_be_none():
    assert read_checksums(f"{'aB' * 32} *a b.npy\n\n") == {"a b.npy": "ab" * 32}
    with pytest.raises(ShardUnreadable, match="<html>"):
        read_checksums("<html>")
