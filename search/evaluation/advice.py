"""Advice on an index that misses too much, by its evaluation."""

from typing import Any

from search.models import Dataset, Evaluation, Training
from search.models.registry import own_field

from .calibration import is_outdated
from .recall import GOOD_RECALL, WIDER_RECALL

# Recall is measured with a hundred queries or so: chance moves it by a little.
NOISE = 0.02


def advice(evaluation: Evaluation, is_outgrown: bool = False) -> list[str]:
    """Return sentences; none if the recall is good.

    `is_outgrown` says whether the dataset has too many rows for its clusters.
    """
    dataset = evaluation.dataset
    of_graph = any(each.get("share") is None for each in evaluation.figures)
    if dataset.index == Dataset.Index.GRAPH:
        return _on_graph(evaluation)
    if of_graph:
        return [
            "These figures are of the graph that was searched before. Evaluate again: "
            f"manage.py evaluate {dataset.slug}."
        ]
    return _on_clusters(evaluation, is_outgrown)


def _low(evaluation: Evaluation, least: float) -> list[dict[str, Any]]:
    return [each for each in evaluation.figures if each["recall_10"] < least]


def _found(figures: dict[str, Any]) -> str:
    return (
        f"{figures['name'].capitalize()}: recall@10 is {figures['recall_10']:.3f}, "
        f"below {GOOD_RECALL}."
    )


def _at_cost(figures: dict[str, Any]) -> str:
    return (
        f"it is {figures['wider_recall_10']:.3f}, at {figures['wider_p50_ms']:.1f} ms "
        f"in place of {figures['ann_p50_ms']:.1f}"
    )


# --- Clusters


def _on_clusters(evaluation: Evaluation, is_outgrown: bool) -> list[str]:
    dataset = evaluation.dataset
    low = _low(evaluation, GOOD_RECALL - NOISE)
    sentences = [_on_reading(each) for each in low]
    training = Training.objects.filter(dataset=dataset, clusters__gt=1).first()
    if training and (low or is_outdated(dataset, training.version)):
        sentences.append(
            "Measure anew how much searches have to read: "
            f"manage.py dataset calibrate {dataset.slug}."
        )
    if is_outgrown:
        sentences.append(
            "The dataset has outgrown its clusters, so searches read more than they "
            "need. Train more of them, beside searches: "
            f"manage.py dataset reindex {dataset.slug}."
        )
    return sentences


def _on_reading(figures: dict[str, Any]) -> str:
    if figures["wider_recall_10"] is None:
        return f"{_found(figures)} All that is calibrated was read."
    return (
        f"{_found(figures)} With recall={WIDER_RECALL}, which reads "
        f"{figures['wider_share']:.1%} of the rows in place of {figures['share']:.1%}, "
        f"{_at_cost(figures)}."
    )


# --- Graphs


def _on_graph(evaluation: Evaluation) -> list[str]:
    low = _low(evaluation, GOOD_RECALL)
    sentences = [_on_width(each) for each in low]
    if evaluation.rows_without_index:
        sentences.insert(0, _on_rows_without_index(evaluation))
    if any(each["wider_recall_10"] < GOOD_RECALL for each in low):
        sentences.append(_on_edges(evaluation.dataset))
    if low:
        sentences.append(
            "Or move the dataset to clusters, of which a search reads as much as its "
            f"recall takes: manage.py dataset reindex {evaluation.dataset.slug}."
        )
    return sentences


def _on_rows_without_index(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.rows_without_index:,} of {evaluation.rows:,} rows had no index: "
        "they were compared one by one, which misses nothing but is slow. Bring one "
        "shard of each such partition in again, which builds its indexes; then "
        "evaluate again."
    )


def _on_width(figures: dict[str, Any]) -> str:
    wider = (
        f"{_found(figures)} Searched {figures['wider_width']:,} wide in place of "
        f"{figures['width']:,} {_at_cost(figures)}"
    )
    if figures["wider_recall_10"] < GOOD_RECALL:
        return f"{wider}: a wider search alone does not mend it."
    return f"{wider}. A search with mode=exact misses nothing."


def _on_edges(dataset: Dataset) -> str:
    connections = _more(dataset, "index_connections")
    construction = _more(dataset, "index_construction")
    exactly = " and with bf16 in place of i8" * (
        dataset.index_quantization == Dataset.Quantization.I8
    )
    return (
        "The graph itself is too coarse: bring the dataset in anew with "
        f"{connections} connections in place of {dataset.index_connections}, with "
        f"{construction} candidates at construction in place of "
        f"{dataset.index_construction}{exactly}."
    )


def _more(dataset: Dataset, name: str) -> int:
    """Return twice the value of a field, at least its default."""
    return max(2 * getattr(dataset, name), own_field(Dataset, name).default)
