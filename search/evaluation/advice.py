"""Advice on an index that misses too much, by its evaluation."""

from typing import Any

from search.clickhouse import queries
from search.models import Dataset, Evaluation
from search.models.registry import own_field

from .recall import GOOD_RECALL


def advice(evaluation: Evaluation) -> list[str]:
    """Return sentences; none if the recall is good."""
    low = [each for each in evaluation.figures if each["recall_10"] < GOOD_RECALL]
    sentences = [_on_search(each) for each in low]
    if evaluation.rows_without_index:
        sentences.insert(0, _on_rows_without_index(evaluation))
    if any(each["wider_recall_10"] < GOOD_RECALL for each in low):
        sentences.append(_on_graph(evaluation.dataset))
    return sentences


def _on_rows_without_index(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.rows_without_index:,} of {evaluation.rows:,} rows had no index: "
        "they were compared one by one, which misses nothing but is slow. Bring one "
        "shard of each such partition in again, which builds its indexes; then "
        "evaluate again."
    )


def _on_search(figures: dict[str, Any]) -> str:
    finding = (
        f"{figures['name'].capitalize()}: recall@10 is {figures['recall_10']:.3f}, "
        f"below {GOOD_RECALL}. Searched {figures['wider_width']:,} wide in place of "
        f"{figures['width']:,} it is {figures['wider_recall_10']:.3f}, at "
        f"{figures['wider_p50_ms']:.1f} ms in place of {figures['ann_p50_ms']:.1f}"
    )
    if figures["wider_recall_10"] < GOOD_RECALL:
        return f"{finding}: a wider search alone does not mend it."
    which = "NARROW_EF" if figures["width"] <= queries.NARROW_EF else "PAGED_EF"
    return f"{finding}: raise {which} in search/clickhouse/queries.py."


def _on_graph(dataset: Dataset) -> str:
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
