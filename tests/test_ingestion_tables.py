"""Tables of sources: every row of a list in any dialect is an item or a reject."""

import csv
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import ShardUnreadable
from search.ingestion.sources import cells, delimited, dialects
from search.ingestion.sources.cells import NOT_UTF8, plain_table
from search.ingestion.sources.tables import TableFile, max_rows, roles_of, with_names

Table = list[list[str]]
TEXTS = st.text(st.sampled_from('ab "",\'\t\n;|é日\u00a0\ufeff\0/\\'), max_size=12)
PLAIN = st.text(st.sampled_from("ab \"',;|é日\u00a0\0/\\"), max_size=12)
RAW_MAP = pa.map_(pa.string(), pa.binary())
DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "|"}


def rows_of(texts: st.SearchStrategy[str], columns: int = 2) -> st.SearchStrategy:
    """Draw rows with an address first, as lists of images have it."""
    others = st.lists(texts, min_size=columns - 1, max_size=columns - 1)
    numbered = st.lists(others, min_size=1, max_size=12)
    return numbered.map(
        lambda rows: [
            [f"https://example.org/{i}.jpg", *row] for i, row in enumerate(rows)
        ]
    )


def read(path: Path) -> tuple[TableFile, Table, dict[int, str]]:
    """Return a file with its rows, read a few at a time, and those rejected."""
    table, rows, rejected = TableFile(path), [], {}
    for part in table.read(0, len(table), 5):
        rejected |= {len(rows) + place: why for place, why in part.rejected.items()}
        rows += [list(row.values()) for row in part.table.to_pylist()]
    assert len(rows) == len(table)
    return table, rows, rejected


@settings(max_examples=60, deadline=None)
@given(
    rows=rows_of(TEXTS, 3),
    delimiter=st.sampled_from(list(DELIMITERS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_quoted_list_of_any_dialect_is_read_as_it_was_written(
    tmp_path_factory, rows, delimiter, quoting, end, encoding
):
    path = tmp_path_factory.getbasetemp() / "quoted.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(
            file, delimiter=delimiter, quoting=quoting, lineterminator=end
        )
        writer.writerows([["url", "caption", "note"], *rows])
    table, found, rejected = read(path)
    assert (table.names, rejected) == (["url", "caption", "note"], {})
    assert found == rows
    assert DELIMITERS[delimiter] in table.dialect


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(PLAIN), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_quotation_marks_of_a_list_without_quoting_stay(tmp_path_factory, rows, end):
    rows = [[url, text.replace('""', '"')] for url, text in rows]
    path = tmp_path_factory.getbasetemp() / "plain.tsv"
    lines = ["url\tcaption", *map("\t".join, rows)]
    path.write_bytes(end.join(lines).encode())
    table, found, rejected = read(path)
    assert (found, rejected) == (rows, {})
    assert table.dialect == "tab-separated values, without quoting, UTF-8"


CLOSED_LATER = [
    ("url", "caption"),
    ("https://example.org/1.jpg", '"two, said the man'),
    ("https://example.org/2.jpg", 'a 17" screen'),
    ("https://example.org/3.jpg", 'a 17"'),  # looks like the end of a quoted cell
    ("https://example.org/4.jpg", '"six" and more'),
    ("https://example.org/5.jpg", '"whole"'),
    ("https://example.org/6.jpg", '"never closed'),
]


def test_no_quotation_mark_swallows_rows(tmp_path):
    path = tmp_path / "captions.tsv"
    path.write_text("\n".join(map("\t".join, CLOSED_LATER)))
    _, found, rejected = read(path)
    assert (found, rejected) == ([list(row) for row in CLOSED_LATER[1:]], {})


def test_a_loose_quotation_mark_in_a_quoted_list_costs_no_other_row(tmp_path):
    """Some cells need the quotes, others have marks that do not quote."""
    quoted = 'https://example.org/{},"one, two\nand ""three"""'
    lines = [
        "url,caption",
        quoted.format(0),
        'https://example.org/1,"never closed',
        quoted.format(2),
        'https://example.org/3,"six" and more',
        'https://example.org/4,"never, closed',
        'https://example.org/5,17"',
        quoted.format(6),
        'https://example.org/7,"at the end',
    ]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines))
    table, found, rejected = read(path)
    text = 'one, two\nand "three"'
    assert "with quoting" in table.dialect
    captions = [row[1] for row in found]
    assert captions == [
        text,
        '"never closed',
        text,
        '"six" and more',
        None,
        '17"',
        text,
        '"at the end',
    ]
    assert list(rejected) == [4] and "3 cells" in rejected[4]


def test_any_rows_are_read_from_places_within_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(dialects, "PLACE_ROWS", 3)
    rows = [[f"https://example.org/{i}", "é, two\nlines" * (i % 3)] for i in range(20)]
    for encoding in ("utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.csv"
        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file).writerows([["url", "caption"], *rows])
        table = TableFile(path)
        for first, last in [(0, 20), (2, 3), (3, 9), (7, 20), (19, 20)]:
            parts = table.read(first, last, 4)
            found = [
                list(row.values()) for part in parts for row in part.table.to_pylist()
            ]
            assert found == rows[first:last]


def test_a_list_of_one_column_may_have_any_delimiter_in_it(tmp_path):
    rows = [
        "https://example.org/?a,b;c|d",
        "https://example.org/?e,f",
        '//example.org/"',
    ]
    path = tmp_path / "urls.csv"
    path.write_text("\n".join(["url", *rows]))
    table, found, rejected = read(path)
    assert ([row[0] for row in found], rejected) == (rows, {})
    assert table.dialect == "one value per line, with quoting, UTF-8"


def test_a_valid_list_may_have_lines_like_rows_in_a_cell(tmp_path):
    text = "Visit us,\nhttps://example.org/shop, today\nor tomorrow"
    rows = [["https://example.org/a.jpg", text], ["https://example.org/b.jpg", "x"]]
    path = tmp_path / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["url", "caption"], *rows])
    _, found, rejected = read(path)
    assert (found, rejected) == (rows, {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_no_list_has_more_rows_than_its_lines(tmp_path, encoding, end):
    path = tmp_path / "list.csv"
    lines = ["url", *[f"//e.org/Ċ{i}" for i in range(50)]]
    path.write_bytes(end.join(lines).encode(encoding))
    assert len(TableFile(path)) == 50
    exact = encoding.startswith("utf-8")
    assert max_rows(path) == 51 if exact else max_rows(path) >= 50


BAD_LINES: dict[str, Callable[[str], bytes]] = {
    "few cells": lambda d: b"https://example.org/bad",
    "many cells": lambda d: d.join(["https://example.org/bad", "a", "b", "c"]).encode(),
    "long cell": lambda d: d.join(
        ["https://example.org/bad", "x" * 2**21, ""]
    ).encode(),
    "long line": lambda d: d.join(
        ["https://example.org/bad", "x" * 2**24, ""]
    ).encode(),
}


@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_row_is_rejected_alone(tmp_path, name, bad):
    delimiter = "\t" if name.endswith("tsv") else ","
    good = delimiter.join(["https://example.org/a", "a caption", ""]).encode()
    header = delimiter.join(["url", "caption", "exif"]).encode()
    lines = [header, *[good] * 3, BAD_LINES[bad](delimiter), *[good] * 4]
    (tmp_path / name).write_bytes(b"\r\n".join(lines))
    _, found, rejected = read(tmp_path / name)
    assert list(rejected) == [3]
    assert [row[1] for row in found] == ["a caption"] * 3 + [None] + ["a caption"] * 4


def test_a_quoted_cell_of_any_length_costs_its_row_and_little_memory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(delimited, "MAX_RECORD_BYTES", 2**14)
    monkeypatch.setattr(dialects, "SAMPLE_BYTES", 2**14)
    path = tmp_path / "list.csv"
    good = b'https://example.org/a,"one, two"\n'
    with path.open("wb") as file:
        file.write(b"url,caption\n" + good)
        line = b"x" * 1023 + b"\n"
        file.write(b'https://example.org/b,"' + line * 2**10 + b'"\n' + good)
    tracemalloc.start()
    _, found, rejected = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row[1] for row in found] == ["one, two", None, "one, two"]
    assert list(rejected) == [1]
    assert peak < 2**19 < path.stat().st_size


def test_bytes_that_are_not_utf8_are_replaced_and_counted_by_row(tmp_path):
    lines = [b"url,caption,who", b"a,Caf\xe9,Ren\xe9", b"b,\xef\xbf\xbd,x", b"c,y,\xff"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    columns = zip(*[line.split(b",") for line in lines[1:]], strict=True)
    binary = [pa.array(column, pa.binary()) for column in columns]
    # As programs write them that do not check what they call a string.
    strings = [pa.Array.from_buffers(pa.string(), 3, a.buffers()) for a in binary]
    named = pa.table(strings, names=["url", "caption", "who"])
    pq.write_table(named, tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        (rows,) = TableFile(tmp_path / name).read(0, 3, 9)
        assert rows.table.to_pydict() == {
            "url": ["a", "b", "c"],
            "caption": ["Caf\ufffd", "\ufffd", "y"],
            "who": ["Ren\ufffd", "x", "\ufffd"],
        }
        assert rows.notes == {NOT_UTF8: 2}


def large(texts: pa.Array) -> pa.Array:
    raw = texts.cast(pa.large_binary())
    return pa.Array.from_buffers(pa.large_string(), len(raw), raw.buffers())


INDEXED = {
    "words": lambda a: pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), a),
    "large words": lambda a: pa.DictionaryArray.from_arrays([0, 1], large(a)),
    "lists": lambda a: pa.ListArray.from_arrays([0, 1, 2], INDEXED["words"](a)),
    "structs": lambda a: pa.StructArray.from_arrays([INDEXED["words"](a)], ["x"]),
    "views": lambda a: pa.ListViewArray.from_arrays([0, 1], [1, 1], a),
}


@pytest.mark.parametrize("form", INDEXED)
def test_a_bad_byte_costs_its_row_alone_in_any_form_of_a_column(tmp_path, form):
    raw = pa.array([b"Ren\xe9", b"x"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"who": INDEXED[form](texts)}), path, row_group_size=1)
    (rows,) = TableFile(path).read(0, 2, 9)
    found = sorted(rows.table["who"].to_pylist())
    expected = {"lists": '["{}"]', "views": '["{}"]', "structs": '{{"x": "{}"}}'}
    assert found == [expected.get(form, "{}").format(x) for x in ("Ren\ufffd", "x")]
    assert rows.notes == {NOT_UTF8: 1}


def test_nested_values_are_json_and_binary_ones_their_size():
    broken = pa.array([b"Ren\xe9", b"x", None], pa.binary())
    names = pa.Array.from_buffers(pa.string(), 3, broken.buffers(), 1)
    image = pa.array([b"\xff" * 3304, b"", None], pa.binary())
    table = pa.table(
        {
            "tags": [["a", "it's", None], [], None],
            "box": [{"x": 1, "ok": True, "note": None}, {"x": None}, None],
            "numbers": [[0.5, float("nan")], [1e9], []],
            "pairs": pa.array(
                [[("k", [1])], [], None], pa.map_(pa.string(), pa.list_(pa.int32()))
            ),
            "image": pa.StructArray.from_arrays([image, names], ["bytes", "path"]),
            "jpg": image,
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "when": pa.array([[0], [], None], pa.list_(pa.timestamp("s"))),
            "late": pa.array([[10**15], [], None], pa.list_(pa.timestamp("s"))),
            "view": pa.array([["a"], [], None], pa.list_view(pa.string())),
        }
    )
    plain = plain_table(table)
    assert plain.table.to_pydict() == {
        "tags": ['["a", "it\'s", null]', "[]", None],
        "box": [
            '{"x": 1, "ok": true, "note": null}',
            '{"x": null, "ok": null, "note": null}',
            None,
        ],
        "numbers": ["[0.5, null]", "[1000000000.0]", "[]"],
        "pairs": ['{"k": [1]}', "{}", None],
        "image": [
            '{"bytes": "3,304 bytes", "path": "Ren\ufffd"}',
            '{"bytes": "0 bytes", "path": "x"}',
            '{"bytes": null, "path": null}',
        ],
        "jpg": ["3,304 bytes", "0 bytes", None],
        "kind": ["a", "b", "a"],
        "when": ['["1970-01-01T00:00:00"]', "[]", None],
        "late": ['["<value out of range: 1000000000000000>"]', "[]", None],
        "view": ['["a"]', "[]", None],
    }
    assert plain.repaired.tolist() == [True, False, False]


def test_a_map_of_metadata_stays_one_with_valid_texts(tmp_path):
    raw = pa.array([[("k", b"v")], None, [("a", b"\xff"), ("b", b"c")]], RAW_MAP)
    items = pa.Array.from_buffers(pa.string(), 3, raw.items.buffers())
    table = pa.table(
        {"metadata": pa.MapArray.from_arrays(raw.offsets, raw.keys, items)}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    plain = plain_table(pq.ParquetFile(tmp_path / "a.parquet").read())
    assert plain.table["metadata"].to_pylist() == [
        [("k", "v")],
        [],
        [("a", "\ufffd"), ("b", "c")],
    ]
    assert plain.repaired.tolist() == [False, False, True]


def test_a_long_cell_of_a_column_costs_its_row(monkeypatch):
    monkeypatch.setattr(cells, "MAX_CELL_BYTES", 8)
    table = pa.table({"caption": ["short", "x" * 9], "tags": [["a" * 9], []]})
    assert {row: why[:20] for row, why in plain_table(table).rejected.items()} == {
        0: "Its column tags has ",
        1: "Its column caption h",
    }


def test_columns_alike_but_for_case_are_both_kept():
    table = pa.table({"caption": ["a"], "Caption": ["b"], "TEXT": ["c"], "Who": ["d"]})
    table = table.append_column("who", pa.array(["e"]))
    roles = roles_of({}, table.column_names, ("url", "caption"))
    assert with_names(table, roles).to_pydict() == {
        "caption": ["a"],
        "original_Caption": ["b"],
        "TEXT": ["c"],
        "Who": ["d"],
        "who": ["e"],
    }
    roles = roles_of({"caption": "Caption"}, table.column_names, ())
    assert with_names(table, roles).to_pydict()["caption"] == ["b"]
    with pytest.raises(ShardUnreadable, match="URL and Url differ in case alone"):
        roles_of({}, ["URL", "Url"], ("url",))


def test_a_column_whose_name_is_taken_is_never_lost():
    table = pa.table({"link": [1], "url": [2], "original_url": [3]})
    assert with_names(table, {"url": "link"}).to_pydict() == {
        "url": [1],
        "original_url": [2],
        "original_original_url": [3],
    }


@pytest.mark.parametrize("order", [("caption", "url"), ("url", "caption")])
def test_a_list_may_have_no_header(tmp_path, monkeypatch, order):
    monkeypatch.setattr(dialects, "PLACE_ROWS", 4)
    rows = [(f'"two" said man {i}', f"http://e.org/{i}.jpg") for i in range(11)]
    if order[0] == "url":
        rows = [row[::-1] for row in rows]
    path = tmp_path / "cc.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in rows))
    table, found, rejected = read(path)
    assert table.names == list(order)
    assert found == [list(row) for row in rows]
    assert not rejected
    assert "without a header" in table.dialect
    with path.open("a") as file:
        file.write("alone\n")
    assert read(path)[2] == {11: "It has 1 cell; the first row has 2."}


def test_a_line_for_excel_names_no_columns(tmp_path):
    path = tmp_path / "excel.csv"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text("sep=;\r\nurl;caption\r\n//e.org/1;a;\r\n", encoding=encoding)
        assert read(path)[0].names == ["url", "caption"]
    path.write_text("sep=;\nurl;caption\n//e.org/1;a, b\n")
    table, found, rejected = read(path)
    assert found == [["//e.org/1", "a, b"]] and not rejected
