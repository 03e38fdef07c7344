"""Recognize the source of a dataset: its kind, files, rows, columns, first rows.

Only the beginning is read: recognition takes seconds, whatever the size of the source.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import ShardUnreadable
from search.ingestion.sources.archives import ARCHIVE, open_archive
from search.ingestion.sources.cells import plain_table
from search.ingestion.sources.image_files import (
    beside,
    folder_files,
    list_folder,
)
from search.ingestion.sources.image_lists import COMPUTED
from search.ingestion.sources.image_set import ImageSet, LeftOut, WithLeftOut
from search.ingestion.sources.image_tables import ImageTable, image_columns, open_table
from search.ingestion.sources.laion import KNOWN, LaionFolder, read_metadata
from search.ingestion.sources.laion import WANTED as LAION_ROLES
from search.ingestion.sources.parquet import WANTED as VECTOR_ROLES
from search.ingestion.sources.parquet import vector_columns
from search.ingestion.sources.places import open_file
from search.ingestion.sources.read_errors import as_shard_unreadable
from search.ingestion.sources.tables import (
    PARQUET,
    TABLE,
    TableFile,
    find_tables,
    roles_of,
    with_names,
)
from search.ingestion.sources.vectors import array_shape
from search.models import Dataset

from .contents import (
    MAX_PREVIEWS,
    SAMPLE_ROWS,
    Contents,
    by_address,
    count_rows,
    first_rows,
    joined,
    sampled_images,
    size_of,
    spread,
    until,
)
from .remote import RemoteShard, look_at

Kind = Dataset.Kind
# Of a list; all of a larger one is read by the import alone.
HEAD_BYTES = 2**22
LIST_ROLES = ("url", "caption", "width", "height")
# Roles that a person may have to assign, by what the source is.
ROLES_OF_FILES = ("caption", "nsfw", "license")
ROLES_OF_TABLES = ("image", "caption", "url", "nsfw", "license")
ROLES_OF_LISTS = ("url", "caption", "nsfw", "license")
ROLES_OF_VECTORS = ("embedding", "text_embedding", *ROLES_OF_LISTS)
NOTHING = "There is nothing to import in “{}”: "
NO_IMAGE_COLUMN = "Which column has the addresses of the images?"


def recognize(dataset: Dataset, kind: str = "") -> Contents:
    """Return what is at the source of a dataset; of `kind`, where that is possible.

    Raises ShardUnreadable or CannotFetch with a sentence.
    """
    source, columns = dataset.source, dataset.columns
    if source.startswith(("http://", "https://")):
        return _remote_shards(dataset)
    if os.path.isdir(source):
        shards = LaionFolder(source, columns)
        if numbers := shards.shards():
            return _local_shards(shards, numbers, columns)
    if archives := find_tables(source, ARCHIVE):
        return _archives(source, archives, columns)
    if os.path.isdir(source):
        listing = list_folder(Path(source))
        if listing.images:
            return _folder(Path(source), columns)
    if tables := find_tables(source, TABLE):
        return _tables(source, tables, columns, kind)
    raise ShardUnreadable(_nothing(source))


def _nothing(source: str) -> str:
    """Say that there is nothing to import, and why."""
    path = Path(source)
    sorts = "images, tar or zip files, Parquet files or lists (CSV, TSV)"
    if os.path.isfile(source):
        return (
            f"“{path.name}” cannot be imported by itself: choose a folder, a tar or "
            "zip file, a Parquet file or a list (CSV, TSV)."
        )
    if not os.path.isdir(source):
        return f"There is no file or folder “{source}” on this server."
    others = len(list_folder(path).left_out)
    if not others:
        return NOTHING.format(path.name) + "it is empty."
    return NOTHING.format(path.name) + f"none of its {others:,} files are {sorts}."


# --- Images


def _folder(folder: Path, columns: Mapping[str, str]) -> Contents:
    listing = list_folder(folder)
    samples = listing.samples()
    chosen = spread(samples, SAMPLE_ROWS)
    images = folder_files(folder, chosen, columns)[0]()
    sizes = images.bytes / len(chosen)
    return _files(
        what="A folder of images",
        images=images,
        files=len(samples),
        rows=len(samples),
        bytes=round(sizes * len(samples)),
        left_out=listing.left_out,
    )


def _archives(
    source: str, archives: list[Path], columns: Mapping[str, str]
) -> Contents:
    opened = open_archive(archives[0], columns)
    images, left_out = _without_left_out(opened)
    if not len(images):
        raise ShardUnreadable(f"There are no images in {archives[0].name}.")
    return _files(
        what=_archives_sort(archives),
        images=images,
        files=len(archives),
        rows=len(images) * len(archives),
        rows_estimated=len(archives) > 1,
        bytes=sum(map(size_of, archives)),
        left_out=[*left_out, *beside(source, archives)],
    )


def _archives_sort(archives: list[Path]) -> str:
    endings = {path.suffix.lower() for path in archives}
    sort = f"{endings.pop()[1:]} file" if len(endings) == 1 else "archive"
    article = "An" if sort == "archive" else "A"
    return (
        f"{sort.capitalize()}s of images"
        if archives[1:]
        else f"{article} {sort} of images"
    )


def _without_left_out(images: ImageSet) -> tuple[ImageSet, Sequence[LeftOut]]:
    if isinstance(images, WithLeftOut):
        return images.images, images.left_out
    return images, ()


def _files(images: ImageSet, **fields: Any) -> Contents:
    rows = list(islice(images.read(0, SAMPLE_ROWS), 1))
    sample = joined(rows)
    known = {"url", "caption", "file", *COMPUTED}
    columns = [name for name in sample.column_names if name not in known]
    return Contents(
        kind=Kind.IMAGES,
        columns=columns,
        assignable=ROLES_OF_FILES if columns else (),
        sample=sample,
        candidates=tuple(sampled_images(rows)),
        **fields,
    )


def _tables(
    source: str, tables: list[Path], columns: Mapping[str, str], kind: str
) -> Contents:
    """Read tables as embeddings where a column is named so, unless told otherwise."""
    parquet = find_tables(source, PARQUET)
    if not parquet:
        return _lists(source, tables, columns)
    first = open_table(parquet[0])
    vectors = vector_columns(first.schema_arrow)
    kinds = (Kind.PARQUET, Kind.IMAGES) if vectors else ()
    of_images = {
        role: name for role, name in columns.items() if not role.endswith("embedding")
    }
    if vectors and (kind == Kind.PARQUET or (not kind and "embedding" in vectors)):
        return replace(_vectors(source, parquet, vectors, columns), kinds=kinds)
    if image_columns(first, of_images):
        return replace(_image_tables(source, parquet, of_images), kinds=kinds)
    return replace(_lists(source, tables, of_images), kinds=kinds)


def _image_tables(
    source: str, files: list[Path], columns: Mapping[str, str]
) -> Contents:
    images = ImageTable(files[0], columns)
    rows, estimated = count_rows(files)
    read = list(until(images.read(0, MAX_PREVIEWS), MAX_PREVIEWS))
    return Contents(
        kind=Kind.IMAGES,
        what="Parquet files with images in them",
        files=len(files),
        rows=rows,
        rows_estimated=estimated,
        bytes=sum(map(size_of, files)),
        columns=[*images.others, images.image],
        assignable=ROLES_OF_TABLES,
        roles={**images.roles, "image": images.image},
        sample=joined(read),
        candidates=tuple(sampled_images(read)),
        left_out=beside(source, files),
    )


def _lists(source: str, files: list[Path], columns: Mapping[str, str]) -> Contents:
    with _head_of(files[0]) as head:
        table = TableFile(head)
        roles = roles_of(columns, table.names, LIST_ROLES)
        plain = list(table.read(0, SAMPLE_ROWS, SAMPLE_ROWS, roles, COMPUTED))
        rows, estimated = _rows_of_lists(files, table)
    sample = plain[0].table if plain else pa.table({})
    bad = plain[0].rejected if plain else {}
    return Contents(
        kind=Kind.IMAGES,
        what=f"A list of image addresses, read as {table.dialect}",
        files=len(files),
        rows=rows,
        rows_estimated=estimated,
        bytes=sum(map(size_of, files)),
        columns=table.names,
        assignable=ROLES_OF_LISTS,
        roles=roles,
        question="" if "url" in roles else NO_IMAGE_COLUMN,
        sample=sample,
        candidates=tuple(by_address(sample)),
        left_out=[
            *beside(source, files),
            *(LeftOut(f"{files[0].name}, row {at}", bad[at]) for at in bad),
        ],
    )


def _rows_of_lists(files: list[Path], head: TableFile) -> tuple[int, bool]:
    """Return the rows of lists, and whether they are estimated from the first bytes."""
    if head.is_parquet:
        return count_rows(files)
    total = sum(map(size_of, files))
    if head.path == files[0] and len(files) == 1:
        return len(head), False
    return round(len(head) * total / max(size_of(head.path), 1)), True


@contextmanager
def _head_of(path: Path) -> Iterator[Path]:
    """Yield a list, or a copy of the first lines of a large one."""
    if PARQUET.fullmatch(path.name) or size_of(path) <= HEAD_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with as_shard_unreadable(path.name), open_file(path) as file:
            head = file.read(HEAD_BYTES)
        copy.write_bytes(head[: head.rfind(b"\n") + 1] or head)
        yield copy


# --- Embeddings


def _vectors(
    source: str,
    files: list[Path],
    vectors: Mapping[str, str],
    columns: Mapping[str, str],
) -> Contents:
    file = open_table(files[0])
    names = file.schema_arrow.names
    likely = {"embedding": vectors.get("embedding") or next(iter(vectors.values()))}
    wanted = {role: name for role, name in columns.items() if role != "image"}
    roles = roles_of(likely | wanted, names, VECTOR_ROLES)
    roles.pop("id", None)
    sample, dimension = _first_vectors(file, roles)
    rows, estimated = count_rows(files)
    return Contents(
        kind=Kind.PARQUET,
        what="Parquet files with embeddings",
        files=len(files),
        rows=rows,
        rows_estimated=estimated,
        bytes=sum(map(size_of, files)),
        columns=names,
        assignable=ROLES_OF_VECTORS,
        roles=roles,
        sample=sample,
        candidates=tuple(by_address(sample)),
        left_out=beside(source, files),
        dimension=dimension,
        has_text_vectors="text_embedding" in roles,
    )


def _first_vectors(
    file: pq.ParquetFile, roles: Mapping[str, str]
) -> tuple[pa.Table, int | None]:
    """Return the first rows without their vectors, and the length of a vector."""
    records = first_rows(file)
    column = records[roles["embedding"]].drop_null()
    dimension = len(column[0]) if len(column) else None
    vectors = {roles[each] for each in ("embedding", "text_embedding") if each in roles}
    others = [name for name in records.column_names if name not in vectors]
    named = {role: name for role, name in roles.items() if name in others}
    return plain_table(with_names(records.select(others), named)).table, dimension


def _local_shards(
    shards: LaionFolder, numbers: list[int], columns: Mapping[str, str]
) -> Contents:
    image, text, metadata = shards.files(numbers[0])
    rows, dimension = array_shape(image)
    file = read_metadata(metadata)
    names = file.schema_arrow.names
    roles = roles_of(columns, names, LAION_ROLES, KNOWN)
    sample = plain_table(with_names(first_rows(file), roles)).table
    size = sum(map(size_of, filter(None, (image, text, metadata))))
    return Contents(
        kind=Kind.LAION,
        what="LAION shards: embeddings and metadata",
        files=len(numbers),
        rows=rows * len(numbers),
        rows_estimated=len(numbers) > 1,
        bytes=size * len(numbers),
        columns=names,
        assignable=ROLES_OF_LISTS,
        roles=roles,
        sample=sample,
        candidates=tuple(by_address(sample)),
        dimension=dimension,
        has_text_vectors=text is not None,
    )


def _remote_shards(dataset: Dataset) -> Contents:
    first: RemoteShard = look_at(dataset)
    roles = roles_of(dataset.columns, first.columns, LAION_ROLES, KNOWN)
    return Contents(
        kind=Kind.LAION,
        what=f"LAION shards of {first.host}",
        files=first.shards,
        rows=first.rows * first.shards,
        rows_estimated=first.shards > 1,
        bytes=first.bytes * first.shards,
        columns=first.columns,
        assignable=ROLES_OF_LISTS,
        roles=roles,
        dimension=first.dimension,
        has_text_vectors=bool(dataset.text_pattern),
        files_are_here=False,
    )
