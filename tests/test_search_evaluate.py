"""manage.py evaluate: recall against the exact search, with advice where it is poor."""

import json
from contextlib import nullcontext
from functools import partial
from io import StringIO
from random import Random
from unittest.mock import patch

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from support.tiny_shards import import_all, write_shard

from search.clickhouse import schema, writer
from search.clickhouse.schema import SHARD_BITS
from search.evaluation.advice import advice
from search.evaluation.recall import (
    MAX_EVALUATIONS,
    SHAPES,
    Reading,
    evaluate,
    recall,
    search_all,
    stored_questions,
)
from search.models import Dataset, Evaluation
from search.retrieval.sampling import random_ids

pytestmark = pytest.mark.django_db
DIMENSION = 32
ROWS = 2_500


@pytest.fixture
def made(tmp_path):
    """Makes a dataset of these vectors; its table goes with the test."""
    datasets = []

    def make(
        slug: str, image: np.ndarray, text: np.ndarray, *, build: bool = True, **options
    ) -> Dataset:
        folder = tmp_path / slug
        folder.mkdir()
        rows = len(image)
        facts = {"url": [f"http://e.org/{i}" for i in range(rows)]}
        facts["caption"] = ["a house"] * rows
        write_shard(folder, 0, rows, image=image, text=text, metadata=facts)
        options = {"dimension": image.shape[1], "source": str(folder), **options}
        options["without_removal_list"] = True
        dataset = Dataset.objects.create(slug=slug, title=slug.title(), **options)
        datasets.append(dataset)
        with nullcontext() if build else patch.object(writer, "build_indexes"):
            import_all(dataset)
        return dataset

    yield make
    for dataset in datasets:
        schema.drop(dataset.item_table)


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float16)


def drawn(seed: int, rows: int = ROWS) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((rows, DIMENSION)))


def evaluated(slug: str, *options: object) -> str:
    output = StringIO()
    call_command("evaluate", slug, *map(str, options), stdout=output)
    return output.getvalue()


def test_the_index_of_the_postcards_finds_nearly_all(postcards_dataset):
    printed = evaluated("postcards", "--queries", 10)
    evaluation = postcards_dataset.evaluations.get()
    assert [each["name"] for each in evaluation.figures] == [
        shape.name for shape in SHAPES
    ]
    for each in evaluation.figures:
        assert each["queries"] == 10
        assert each["recall_1"] >= 0.9
        assert each["recall_10"] >= 0.97
        assert each["recall_100"] >= 0.97
        assert 0 < each["ann_p50_ms"] <= each["ann_p95_ms"]
        assert 0 < each["exact_p50_ms"] <= each["exact_p95_ms"]
        assert each["name"] in printed
    assert evaluation.rows == 2000
    assert evaluation.rows_without_index == 0
    assert evaluation.words == Evaluation.Words.CAPTIONS
    assert advice(evaluation) == []


def test_a_graph_with_too_few_edges_is_told_apart_from_a_good_one(made):
    image, text = drawn(1), drawn(2)
    made("good", image, text, index="graph")
    few = {"index_connections": 2, "index_construction": 1}
    poor = made("poor", image, text, index="graph", **few)
    good = json.loads(evaluated("good", "--queries", 10, "--json"))
    bad = json.loads(evaluated("poor", "--queries", 10, "--json"))
    assert all(each["recall_10"] > 0.97 for each in good["figures"])
    assert good["advice"] == []
    for each in bad["figures"]:
        assert each["recall_10"] < 0.95
        assert each["wider_width"] > each["width"]
        assert each["wider_recall_10"] >= each["recall_10"]
        assert each["wider_p50_ms"] > 0
    assert "with 32 connections in place of 2" in bad["advice"][-2]
    assert "64 candidates at construction in place of 1" in bad["advice"][-2]
    assert "clusters" in bad["advice"][-1]
    assert advice(poor.evaluations.get()) == bad["advice"]
    assert bad["advice"][-1] in evaluated("poor", "--queries", 10)


def figures(**changed) -> dict:
    return {
        "name": "images by words",
        "recall_10": 0.9494,
        "width": 1000,
        "ann_p50_ms": 11.4,
        "wider_width": 4000,
        "wider_recall_10": 0.981,
        "wider_p50_ms": 30.06,
        **changed,
    }


def advised(dataset: Dataset, *measured: dict, rows_without_index: int = 0):
    return advice(
        Evaluation(
            dataset=dataset,
            rows=1000,
            rows_without_index=rows_without_index,
            figures=measured,
        )
    )


def test_what_a_wider_search_mends_is_not_blamed_on_the_graph():
    graph = Dataset(slug="old", index="graph")
    sentence, other = advised(graph, figures(), figures(recall_10=0.95))
    assert "recall@10 is 0.949, below 0.95" in sentence
    assert "4,000 wide in place of 1,000 it is 0.981" in sentence
    assert "30.1 ms in place of 11.4" in sentence
    assert "mode=exact" in sentence
    assert other.endswith("manage.py dataset reindex old.")
    assert ".py " not in sentence and "_EF" not in sentence


def test_a_coarse_graph_is_to_be_made_anew_and_as_bf16():
    coarse = Dataset(index="graph", index_quantization="i8", index_connections=40)
    sentences = advised(coarse, figures(wider_recall_10=0.94))
    assert "does not mend it" in sentences[0]
    assert "80 connections in place of 40" in sentences[1]
    assert "128 candidates at construction in place of 64" in sentences[1]
    assert "bf16 in place of i8" in sentences[1]
    plain = advised(Dataset(index="graph"), figures(wider_recall_10=0.94))[1]
    assert "64 connections in place of 32" in plain
    assert "bf16" not in plain


def test_rows_without_an_index_are_named_first(made):
    made("bare", drawn(1, 500), drawn(2, 500), build=False, index="graph")
    answer = json.loads(evaluated("bare", "--queries", 3, "--json"))
    assert answer["rows_without_index"] == 500
    assert all(each["recall_100"] == 1 for each in answer["figures"])
    (sentence,) = answer["advice"]
    assert sentence.startswith("500 of 500 rows had no index")


def test_copies_at_the_same_distance_are_all_right_answers(made):
    """Far more of them than any list of the true nearest holds."""
    copies = np.repeat(drawn(3, 1), 1_500, axis=0)
    made("copies", np.concatenate([copies, drawn(4, 200)]), drawn(5, 1_700))
    evaluation = evaluate("copies", 10, seed=0)
    by_picture = [each for each in evaluation.figures if each["asked"] == "picture"]
    assert [each["recall_10"] for each in by_picture] == [1, 1]


def test_recall_goes_by_distances():
    truth = [np.array([0.1, 0.2, 0.2, 0.4])]
    assert recall([np.array([0.1, 0.2, 0.4])], truth, 1) == 1
    assert recall([np.array([0.2, 0.2, 0.4])], truth, 1) == 0
    assert recall([np.array([0.1, 0.2])], truth, 2) == 1
    assert recall([np.array([0.1, 0.4, 0.9, np.inf])], truth, 4) == 0.5
    assert recall([np.array([])], truth, 10) == 0
    assert recall([*truth, np.array([0.5])], [*truth, np.array([0.1])], 1) == 0.5
    # With fewer items than the rank, all that there are.
    assert recall(truth, truth, 100) == 1


def test_an_item_is_not_an_answer_to_its_own_vector(postcards_dataset):
    table = postcards_dataset.item_table
    by_picture = stored_questions(table, "image", [7])
    for exact in (True, False):
        nearest = partial(Reading, exact=exact)
        found = search_all(table, "image", by_picture, nearest(1000), lambda: None)
        assert 7 not in found.ids[0]
        assert len(found.ids[0]) == 100
        # Its picture is a right answer to its caption.
        by_caption = stored_questions(table, "text", [7])
        found = search_all(table, "image", by_caption, nearest(2000), lambda: None)
        assert found.distances[0][0] > 0.3
        own = search_all(table, "text", by_picture, nearest(2000), lambda: None)
        assert 7 in own.ids[0]


def test_words_come_from_a_file(postcards_dataset, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("boats at night\n\n  a red house \nsnow\n", encoding="utf-8")
    evaluated("postcards", "--queries", 5, "--words", path)
    evaluation = postcards_dataset.evaluations.get()
    assert evaluation.words == Evaluation.Words.GIVEN
    by_words = [each for each in evaluation.figures if each["asked"] == "words"]
    assert [each["queries"] for each in by_words] == [3, 3]


def test_captions_stand_in_for_words_that_cannot_be_encoded(made, tmp_path):
    made("unweighted", drawn(1, 50), drawn(2, 50), model="ViT-B-32", weights="")
    path = tmp_path / "words.txt"
    path.write_text("boats at night", encoding="utf-8")
    errors = StringIO()
    call_command(
        "evaluate",
        "unweighted",
        queries=5,
        words=path,
        stdout=StringIO(),
        stderr=errors,
    )
    assert "has no weights here. Captions of the dataset stand in" in errors.getvalue()
    assert Evaluation.objects.get().words == Evaluation.Words.CAPTIONS


def test_the_seed_decides_which_items_ask(postcards_dataset):
    def ids(seed: int) -> list[int]:
        return random_ids(postcards_dataset, 50, Random(seed))

    assert ids(1) == ids(1)
    assert set(ids(1)) != set(ids(2))
    assert len(ids(1)) == len(set(ids(1))) > 40
    assert {number >> SHARD_BITS for number in ids(1)} == {0, 1}


def test_only_the_last_evaluations_are_kept(postcards_dataset):
    for _ in range(MAX_EVALUATIONS + 2):
        Evaluation.objects.create(
            dataset=postcards_dataset, rows=1, rows_without_index=0, figures=[]
        )
    newest = evaluate("postcards", 1, seed=0)
    assert postcards_dataset.evaluations.count() == MAX_EVALUATIONS
    assert postcards_dataset.evaluations.first() == newest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["laion"], "There is no dataset named “laion”."),
        (["hollow"], "This dataset has no items yet."),
        (["postcards", "--queries", 0], "At least one query"),
        (["postcards", "--words", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["postcards", "--words", "/dev/null"], "has no queries"),
    ],
)
def test_what_cannot_be_measured_is_said(postcards_dataset, arguments, sentence):
    Dataset.objects.create(slug="hollow", title="Hollow")
    with pytest.raises(CommandError, match=sentence):
        evaluated(*arguments)
