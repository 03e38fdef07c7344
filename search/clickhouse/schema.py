"""One table per dataset: which columns it has, and the statements that make it.

The layout is measured: vectors as uncompressed bfloat16 (half the bytes of float32, at
1 % of recall), granules of 256 rows and payload blocks of 4 KB, so that the ten rows of
an answer are read without their neighbours.
"""

from dataclasses import dataclass

from . import client

VECTOR_COLUMNS = {"image": "image_embedding", "text": "text_embedding"}
INDEXES = {"image": "image_index", "text": "text_index"}
CODE_BYTES = 64  # of image_code, by which near-duplicates are told (search.duplicates)
PARTITION_BITS = 34  # four shards of up to 2**32 rows share a partition, and a graph
SHARD_BITS = 32


@dataclass(frozen=True)
class ItemTable:
    """What of a dataset decides its table."""

    slug: str
    dimension: int
    metric: str = "cosineDistance"
    index_connections: int = 32
    index_construction: int = 64
    quantization: str = "bf16"

    @property
    def name(self) -> str:
        return f"item_{self.slug}"


def create(table: ItemTable) -> None:
    """Makes the table if it is not there."""
    client.command(creation(table))


def drop(table: ItemTable) -> None:
    client.command(f"DROP TABLE IF EXISTS {table.name} SYNC")


def creation(table: ItemTable) -> str:
    vectors = ",\n".join(
        f"  {column} Array(BFloat16) CODEC(NONE)" for column in VECTOR_COLUMNS.values()
    )
    indexes = ",\n".join(
        f"  INDEX {INDEXES[field]} {column} TYPE vector_similarity('hnsw', "
        f"'{table.metric}', {table.dimension}, '{table.quantization}', "
        f"{table.index_connections}, {table.index_construction})"
        for field, column in VECTOR_COLUMNS.items()
    )
    lengths = " AND ".join(
        f"length({column}) = {table.dimension}" for column in VECTOR_COLUMNS.values()
    )
    blocks = "SETTINGS (min_compress_block_size=4096, max_compress_block_size=8192)"
    return f"""CREATE TABLE IF NOT EXISTS {table.name} (
  id UInt64,
  url String CODEC(LZ4) {blocks},
  caption String CODEC(LZ4) {blocks},
  nsfw LowCardinality(String),
  license LowCardinality(String),
  caption_similarity Float32 {blocks},
  width UInt32 {blocks},
  height UInt32 {blocks},
  metadata Map(LowCardinality(String), String),
  deleted UInt8,
  site String MATERIALIZED domainWithoutWWW(lower(url)) CODEC(LZ4) {blocks},
  url_hash UInt64 MATERIALIZED if(url = '', id, cityHash64(url)) CODEC(NONE) {blocks},
  image_code FixedString({CODE_BYTES}) CODEC(NONE) {blocks},
{vectors},
{indexes},
  INDEX caption_words caption
    TYPE text(tokenizer = splitByNonAlpha, preprocessor = lowerUTF8(caption)),
  CONSTRAINT vector_length CHECK {lengths}
) ENGINE = MergeTree
PARTITION BY bitShiftRight(id, {PARTITION_BITS})
ORDER BY id
SETTINGS index_granularity = 256, default_compression_codec = 'LZ4',
  non_replicated_deduplication_window = 100000"""
