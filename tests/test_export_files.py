"""Exports of all kinds and formats: the content of the files."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import hostile_items
from support.collection_helpers import collection
from support.export_helpers import bytes_of, made, rows
from support.truth import all_similarities, reasons

from laionweb.version import VERSION
from search.csv_output import escape_formula
from search.errors import InvalidQuery, NotFound
from search.models import SYSTEM, Dataset, Removal
from search.query.filters import Filters
from search.query.model import SearchQuery, Term
from search.removals import takedowns
from search.retrieval import scan
from search.retrieval.service import unlimited
from usercollections.export.formats import FORMATS

pytestmark = pytest.mark.django_db
KINDS = ("dataset", "concept", "search", "collection")
ABOVE = -0.1


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker):
    with hostile_items.dataset(django_db_blocker) as crowd:
        yield crowd


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("ada")


@pytest.fixture
def concept(user, crowd):
    from usercollections.models import Concept

    dataset = Dataset.objects.get(slug="hostile")
    return Concept.objects.create(
        owner=user,
        name="=boats/..",
        model=dataset.model,
        weights=dataset.weights,
        vector=query_vector(crowd).astype("<f4").tobytes(),
        version=3,
    )


@pytest.fixture
def request_for(user, crowd, concept):
    """Return a function for requests by kind and format."""
    from usercollections.export import export_request

    def of(kind: str, form: str, with_embeddings: bool = False):
        if kind == "dataset":
            return export_request.of_dataset(
                SYSTEM, "hostile", Filters(), form, with_embeddings
            )
        if kind == "concept":
            more = {"form": form, "with_embeddings": with_embeddings}
            return export_request.of_concept(user, concept.pk, "hostile", ABOVE, **more)
        if kind == "search":
            query = SearchQuery(
                "hostile", (Term(concept=str(concept.pk)),), mode="exact"
            )
            return export_request.of_search(
                query, user, unlimited, form, with_embeddings, limit=50
            )
        mine = collection(user, *collected_ids(crowd), dataset="hostile", name="mine")
        mine.items.filter(item=1).update(note="=a note")
        return export_request.of_collection(user, mine.pk, form, with_embeddings)

    return of


def query_vector(crowd) -> np.ndarray:
    vector = crowd.image[2] + crowd.image[30]
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def collected_ids(crowd) -> list[int]:
    """Return ids of both shards, in another order, without removed items."""
    order = [110, 1, 61, 5, 20, 100, 10, 3]
    return [int(crowd.ids[row]) for row in order]


def true_rows(crowd, kind: str) -> list[int]:
    """Return the rows of an export, in its order."""
    if kind == "collection":
        return [crowd.row_of[item_id] for item_id in collected_ids(crowd)]
    shown = np.flatnonzero(reasons(crowd, Filters()) == 0)
    if kind == "dataset":
        return shown.tolist()
    similarities = similarities_of(crowd)[shown]
    if kind == "concept":
        return shown[similarities >= ABOVE].tolist()
    return shown[np.argsort(-similarities)][:50].tolist()


def similarities_of(crowd) -> np.ndarray:
    return all_similarities(crowd, {"image": query_vector(crowd)})


def facts(crowd, row: int) -> dict:
    exported = {
        name: crowd.facts[name][row].as_py()
        for name in ("url", "caption", "width", "height", "nsfw", "license")
    }
    score = np.float32(crowd.column("similarity")[row])
    return exported | {
        "id": int(crowd.ids[row]),
        "caption_similarity": None if np.isnan(score) else float(score),
        "metadata": hostile_items.metadata(crowd, row),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_an_export_has_the_items_asked_for(
    request_for, crowd, user, tmp_path, kind, form
):
    manifest = made(request_for(kind, form), tmp_path, user)
    wanted = true_rows(crowd, kind)
    if form == "img2dataset":
        wanted = [row for row in wanted if row % 6 < hostile_items.ON_THE_WEB]
        left_out = len(true_rows(crowd, kind)) - len(wanted)
        assert manifest["counts"]["left_out"]["no_address"] == left_out > 0
    found = rows(manifest, tmp_path)
    assert [int(row["id"]) for row in found] == crowd.ids[wanted].tolist()
    assert list(found[0]) == [column["name"] for column in manifest["columns"]]
    for row, exported in zip(wanted, found, strict=True):
        check = {"json": check_plain, "csv": check_csv}.get(form, check_typed)
        check(facts(crowd, row), exported, form)
    if kind in ("concept", "search"):
        similarities = np.array([float(row["similarity"]) for row in found])
        assert np.allclose(similarities, similarities_of(crowd)[wanted], atol=1e-5)
    if kind == "collection" and form != "img2dataset":
        notes = {int(row["id"]): row["note"] for row in found}
        assert notes[1] == ("'=a note" if form == "csv" else "=a note")


def check_plain(true, exported, form) -> None:
    near = true.pop("caption_similarity"), exported["caption_similarity"]
    assert near[0] == near[1] or np.float32(near[0]) == np.float32(near[1])
    assert {name: exported[name] for name in true} == true


def check_csv(true, exported, form) -> None:
    assert json.loads(exported["metadata"]) == true.pop("metadata")
    near = true.pop("caption_similarity")
    assert exported["caption_similarity"] == (
        "" if near is None else str(np.float32(near))
    )
    assert {name: exported[name] for name in true} == {
        name: str(escape_formula(value)) for name, value in true.items()
    }
    texts = [exported[name] for name in true if isinstance(true[name], str)]
    assert not any(text.startswith(tuple("=+-@\t\r")) for text in texts)


def check_typed(true, exported, form) -> None:
    if form == "img2dataset":
        true = {
            name: true[name] for name in ("url", "caption", "id", "nsfw", "license")
        }
        assert exported["published_width"] == exported["id"] % (1 << 32) * 10 + (
            600 if exported["id"] >> 32 else 0
        )
    assert {name: exported[name] for name in true} == true


def test_keys_of_the_list_are_places_in_it(
    request_for, user, crowd, tmp_path, monkeypatch
):
    from usercollections.export import writer

    monkeypatch.setattr(writer, "PART_ROWS", 20)
    manifest = made(request_for("dataset", "img2dataset"), tmp_path, user)
    assert len(manifest["files"]) > 2
    found = [row["key"] for row in rows(manifest, tmp_path)]
    assert found == [f"{place:09}" for place in range(len(found))]
    exported = manifest["command"].partition("--save_additional_columns ")[2].strip("'")
    names = [column["name"] for column in manifest["columns"]]
    assert names == ["url", "caption", "key", *json.loads(exported)]


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_the_engine(request_for, crowd, user, tmp_path, kind):
    manifest = made(request_for(kind, "parquet", True), tmp_path, user)
    (file,) = manifest["files"]
    table = pq.read_table(tmp_path / file["name"])
    wanted = true_rows(crowd, kind)
    for name, true in (("embedding", crowd.image), ("text_embedding", crowd.text)):
        column = table[name].combine_chunks()
        assert column.type == pa.list_(pa.float32(), hostile_items.DIMENSION)
        assert np.array_equal(
            column.flatten().to_numpy().reshape(len(wanted), -1), true[wanted]
        )


def test_parquet_has_types_and_is_packed(request_for, user, tmp_path):
    manifest = made(request_for("collection", "parquet", True), tmp_path, user)
    file = pq.ParquetFile(tmp_path / manifest["files"][0]["name"])
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["id"] == types["width"] == "int64"
    assert types["caption_similarity"] == "float"
    assert types["metadata"].startswith("map<string, string")
    assert types["added_at"] == "timestamp[us, tz=UTC]"
    group = file.metadata.row_group(0)
    packed = {group.column(n).compression for n in range(group.num_columns)}
    assert packed == {"ZSTD"}


def test_the_manifest_tells_what_it_is(request_for, user, crowd, concept, tmp_path):
    manifest = made(request_for("concept", "json"), tmp_path, user)
    assert manifest["application"] == {"name": "laionweb", "version": VERSION}
    what = manifest["asked"]["what"]
    assert what["concept"] == {"id": str(concept.pk), "name": "=boats/..", "version": 3}
    assert (what["field"], what["at_least"]) == ("image", ABOVE)
    assert what["filters"]["nsfw"] == "safe"
    (exported,) = manifest["datasets"]
    assert (exported["slug"], exported["dimension"], exported["metric"]) == (
        "hostile",
        16,
        "cosine",
    )
    assert exported["model"] == Dataset.objects.get(slug="hostile").model
    assert exported["version"]["items"] == hostile_items.ROWS
    assert exported["removals"]["count"] == 0
    reason = reasons(crowd, Filters())[similarities_of(crowd) >= ABOVE]
    left_out = {"removed": int((reason == 2).sum()), "nsfw": int((reason == 1).sum())}
    assert manifest["counts"]["left_out"] == left_out
    assert manifest["counts"]["looked_at"] == hostile_items.ROWS
    assert manifest["changed_meanwhile"] is False
    assert all(file["name"].startswith("boats-from-01-") for file in manifest["files"])
    searched = made(request_for("search", "json"), tmp_path / "search", user)
    assert searched["exact"] is True
    (term,) = searched["asked"]["what"]["terms"]
    assert term["concept"]["version"] == 3 and term["weight"] == 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_export_has_the_same_bytes(request_for, user, tmp_path, form):
    for kind in KINDS:
        one = request_for(kind, form)
        first = made(one, tmp_path / kind / "first", user)
        second = made(one, tmp_path / kind / "second", user)
        assert bytes_of(first) == bytes_of(second)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_list_names_is_never_exported(request_for, user, crowd, tmp_path, kind):
    """Also before the engine hides them, and in older collections."""
    one = request_for(kind, "json")
    wanted = true_rows(crowd, kind)
    removed = wanted[2]
    before = made(one, tmp_path / "before", user)
    takedowns.add(
        Removal.Kind.MD5, [hostile_items.metadata(crowd, removed)["md5"]], None
    )
    after = made(one, tmp_path / "after", user)
    ids = [row["id"] for row in rows(after, tmp_path / "after")]
    assert ids == [int(crowd.ids[row]) for row in wanted if row != removed]
    counts = [
        made_["counts"]["left_out"].get("removed", 0) for made_ in (before, after)
    ]
    assert counts[1] == counts[0] + 1
    versions = [made_["datasets"][0]["removals"]["digest"] for made_ in (before, after)]
    assert versions[0] != versions[1]


def test_an_export_of_nothing_has_one_empty_file(crowd, user, tmp_path):
    from usercollections.export.export_request import of_dataset

    for form in FORMATS:
        nothing = of_dataset(SYSTEM, "hostile", Filters(caption="nowhere"), form)
        manifest = made(nothing, tmp_path / form)
        (file,) = manifest["files"]
        assert file["rows"] == 0
    assert json.loads((tmp_path / "json" / "hostile-00000.json").read_text()) == []


def test_a_search_that_found_nothing_tells_what_it_left_out(crowd, user, tmp_path):
    from usercollections.export.export_request import of_search

    not_safe = Filters(min_width=50, max_width=50)  # the item 5 alone
    query = SearchQuery("hostile", (Term(item=2),), mode="exact", filters=not_safe)
    counts = made(of_search(query, user, unlimited, "json"), tmp_path, user)["counts"]
    assert counts["rows"] == counts["looked_at"] == 0
    assert counts["left_out"] == {"removed": 0, "nsfw": 1, "duplicates": 0}


def test_a_collection_keeps_what_its_dataset_lost(crowd, user, tmp_path):
    from usercollections.collection import members
    from usercollections.export.export_request import of_collection

    mine = collection(user, *collected_ids(crowd)[:2], dataset="hostile")
    lost = mine.items.get(item=1)
    lost.pk, lost.item, lost.position = None, 999, lost.position + 1
    lost.save()
    members.recount(mine)
    manifest = made(of_collection(user, mine.pk, "parquet", True), tmp_path, user)
    *_, row = rows(manifest, tmp_path)
    assert (row["id"], row["caption"]) == (999, lost.caption)
    assert row["embedding"] is row["metadata"] is row["caption_similarity"] is None


def test_a_public_collection_is_exported_without_its_notes(
    request_for, crowd, user, django_user_model, tmp_path
):
    from usercollections.export.export_request import of_collection
    from usercollections.models import Collection

    request_for("collection", "json")
    mine = Collection.objects.get(name="mine")
    other = django_user_model.objects.create_user("eve")
    with pytest.raises(NotFound):
        of_collection(other, mine.pk, "json")
    Collection.objects.update(visibility="public")
    public = of_collection(other, mine.pk, "json")
    found = rows(made(public, tmp_path, other), tmp_path)
    assert len(found) == 8 and "note" not in found[0]
    Collection.objects.update(visibility="private")
    with pytest.raises(NotFound):
        made(public, tmp_path / "again", other)


def test_few_rows_are_in_memory_at_once(crowd, tmp_path, monkeypatch):
    from usercollections.export import formats, writer
    from usercollections.export.export_request import of_dataset

    sizes, buffered = [], []
    contents, add = scan.contents, formats.ParquetFile.add

    def counted(*given, **more):
        table = contents(*given, **more)
        sizes.append(len(table))
        return table

    def added(file, table):
        add(file, table)
        buffered.append(file.buffered)

    monkeypatch.setattr(scan, "contents", counted)
    monkeypatch.setattr(formats.ParquetFile, "add", added)
    monkeypatch.setattr(formats, "GROUP_ROWS", 12)
    monkeypatch.setattr(writer, "MAX_AT_ONCE", 10)
    monkeypatch.setattr(writer, "MAX_EMBEDDED", 10)
    one = of_dataset(SYSTEM, "hostile", Filters(nsfw="any"), "parquet", True)
    manifest = made(one, tmp_path)
    assert manifest["counts"]["rows"] == sum(sizes) > 100
    assert max(sizes) == 10 and max(buffered) < 12
    file = pq.ParquetFile(tmp_path / manifest["files"][0]["name"])
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert all(12 <= rows < 12 + 10 for rows in groups[:-1])


def test_what_cannot_be_exported_is_refused(
    request_for, crowd, user, concept, tmp_path
):
    from usercollections.export.export_request import (
        ExportRequest,
        of_concept,
        of_dataset,
        of_search,
    )

    def searched(**term) -> SearchQuery:
        return SearchQuery("hostile", (Term(**term),))

    query = searched(item=3)
    for refused, why in (
        (lambda: of_dataset(SYSTEM, "hostile", form="xml"), "json, csv, parquet"),
        (
            lambda: of_dataset(SYSTEM, "hostile", form="csv", with_embeddings=True),
            "Parquet",
        ),
        (lambda: of_dataset(SYSTEM, "hostile", Filters(cutoff=0.5)), "cutoff"),
        (lambda: of_dataset(SYSTEM, "nowhere"), "no dataset"),
        (
            lambda: of_search(searched(item=9_999), user, unlimited, "csv"),
            "no item 9999",
        ),
        (
            lambda: of_search(searched(embedding=(1.0,)), user, unlimited, "csv"),
            "has 1 numbers",
        ),
        (
            lambda: of_search(searched(concept="x"), user, unlimited, "csv"),
            "This concept does not exist",
        ),
        (lambda: of_search(query, user, unlimited, "csv", limit=0), "10,000"),
        (lambda: of_search(query, user, unlimited, "csv", limit=10_001), "10,000"),
        (
            lambda: of_search(
                replace(query, terms=(), cursor="x"), user, unlimited, "csv"
            ),
            "not",
        ),
        (lambda: of_concept(user, concept.pk, "hostile", float("nan")), "between"),
        (lambda: of_concept(user, concept.pk, "hostile", 1.1), "between"),
        (lambda: of_concept(user, concept.pk, "hostile", 0, "sound"), "field"),
        (lambda: of_search(searched(text="a\0b"), user, unlimited, "csv"), "stored"),
        (lambda: ExportRequest.from_dict({"kind": "dataset"}), "not an export"),
        (lambda: ExportRequest.from_dict(None), "not an export"),
    ):
        with pytest.raises((InvalidQuery, NotFound), match=why):
            refused()
    made(request_for("dataset", "json"), tmp_path, user)
    with pytest.raises(InvalidQuery, match="something else"):
        made(request_for("dataset", "csv"), tmp_path, user)


def test_what_is_asked_goes_through_json(request_for, crowd):
    from usercollections.export.export_request import ExportRequest

    for kind in KINDS:
        one = request_for(kind, "parquet", True)
        again = ExportRequest.from_dict(json.loads(json.dumps(one.to_dict())))
        assert again == one
    terms = (
        Term(text="a house"),
        Term(item=4, weight=-0.5),
        Term(embedding=tuple(query_vector(crowd).tolist()), weight=2.0),
    )
    filters = Filters(exclude=(3, 4), min_width=5, site="example.org")
    query = SearchQuery("hostile", terms, field="both", filters=filters, sort="size")
    from usercollections.export.export_request import of_search

    one = ExportRequest.from_dict(
        json.loads(json.dumps(of_search(query, SYSTEM, unlimited, "csv").to_dict()))
    )
    assert one.search_query == query
    assert one.name == "a house -0.5:(item:4) 2:(embedding)"
