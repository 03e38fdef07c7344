"""Ranges of shard numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import ShardUnreadable
from search.ingestion.sources.protocol import LAST_SHARD, parse_range


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-409", list(range(410))),
        ("0,3,7-9", [0, 3, 7, 8, 9]),
        (" 12 , 0 - 2,\n20-20, ", [0, 1, 2, 12, 20]),
        ("5-9,7-11,8,0007", [5, 6, 7, 8, 9, 10, 11]),
        (str(LAST_SHARD), [LAST_SHARD]),
        ("0-99999,0-99999", list(range(100_000))),
    ],
)
def test_ranges_of_shards(text, numbers):
    assert parse_range(text) == numbers


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No shards are named"),
        (" , ", "No shards are named"),
        ("0-9;12", "“0-9;12” is neither"),
        ("-3", "neither"),
        ("1-2-3", "neither"),
        ("0x10", "neither"),
        ("٣", "neither"),
        ("1e3", "neither"),
        ("9" * 5000, "neither"),
        ("9-0", "ends before it begins"),
        (str(LAST_SHARD + 1), "too high"),
        (f"0-{LAST_SHARD + 1}", "too high"),
        ("0-100000", "100,001 shards are too many"),
        (f"0-{LAST_SHARD}", "too many"),
    ],
)
def test_what_is_no_range_is_said_to_be_none(text, reason):
    with pytest.raises(ShardUnreadable, match=reason):
        parse_range(text)


def test_a_long_text_of_the_same_range_is_read_in_one_go():
    assert len(parse_range(",".join(["0-99999"] * 10_000))) == 100_000


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=1))
def test_any_ranges_name_each_number_once(spans):
    text = ",".join(f"{first}-{first + more}" for first, more in spans)
    wanted = {n for first, more in spans for n in range(first, first + more + 1)}
    assert parse_range(text) == sorted(wanted)
