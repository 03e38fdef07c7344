"""The columns of an export: their names, types and order."""

import pyarrow as pa

from .asked import Asked

MAP = pa.map_(pa.string(), pa.string())
EMBEDDINGS = {"image_embedding": "embedding", "text_embedding": "text_embedding"}


def schema_of(
    asked: Asked, dimension: int | None = None, *, with_notes: bool = False
) -> pa.Schema:
    """With embeddings of so many numbers, or without any.

    `similarity` is to the query or the concept, `caption_similarity` the dataset's own;
    what is not known is null.
    """
    is_collection = asked.kind == "collection"
    is_compared = asked.kind in ("search", "concept")
    columns = {
        "id": pa.int64(),
        **({"dataset": pa.string()} if is_collection else {}),
        "url": pa.string(),
        "caption": pa.string(),
        **({"similarity": pa.float32()} if is_compared else {}),
        "caption_similarity": pa.float32(),
        "width": pa.int64(),
        "height": pa.int64(),
        "nsfw": pa.string(),
        "license": pa.string(),
        "metadata": MAP,
    }
    if is_collection:
        columns |= {
            **({"note": pa.string()} if with_notes else {}),
            "position": pa.float64(),
            "added_at": pa.timestamp("us", "UTC"),
        }
    if dimension is not None:
        columns |= dict.fromkeys(EMBEDDINGS.values(), pa.list_(pa.float32(), dimension))
    return pa.schema(columns)


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """These columns of a table, which may have embeddings by the engine's names."""
    named = table.rename_columns(
        [EMBEDDINGS.get(name, name) for name in table.column_names]
    )
    return named.select(schema.names).cast(schema)
