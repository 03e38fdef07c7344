"""Count the words of a dataset's captions."""

from collections import Counter

from . import client
from .filters import NOT_REMOVED
from .schema import ItemTable, read_table

MAX_ROWS = 2_000_000  # of a larger table, so many are drawn
MIN_LENGTH = 2  # characters
# Fewer captions than that have a word by chance, or misspelt, in a large dataset.
RARE_SHARE = 1e-6


def count_words(table: ItemTable, rows: int, most: int) -> list[tuple[str, int]]:
    """Return the words in most captions, with their number among the rows drawn.

    Words are those of search.query.words, without single characters and numbers.
    Raises SearchUnavailable.
    """
    drawn = min(1.0, MAX_ROWS / max(rows, 1))
    sample = f"AND cityHash64(id, 'words') < {int(drawn * (2**64 - 1))}"
    sql = (
        "SELECT word, count() AS n FROM ("
        "SELECT arrayJoin(arrayDistinct(splitByChar(' ', toValidUTF8(words)))) AS word "
        f"FROM {table.name} WHERE {NOT_REMOVED} {sample if drawn < 1 else ''}) "
        f"WHERE lengthUTF8(word) >= {MIN_LENGTH} AND NOT match(word, '^[0-9]+$') "
        f"GROUP BY word HAVING n >= {max(1, int(drawn * rows * RARE_SHARE))} "
        "ORDER BY n DESC, word LIMIT {most:UInt64}"
    )
    limits = {"max_threads": 1, "max_execution_time": client.LONG_TIMEOUT_S}
    per_node = read_table(table, lambda: client.rows(sql, {"most": most}, **limits))
    total: Counter[str] = Counter()
    for found in per_node:
        total.update({row["word"]: row["n"] for row in found})
    return sorted(total.items(), key=lambda each: (-each[1], each[0]))[:most]
