"""The dataset and the shards that a command is for."""

import argparse

from django.db.models import QuerySet

from search.errors import NotFound
from search.ingestion.source import parse_range
from search.ingestion.standing import spans
from search.models import Dataset, Shard


def add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shards", default="", metavar="0-9,12", help="only these; else all"
    )


def shards_of(dataset: Dataset, named: str) -> QuerySet[Shard]:
    """Those that a range names; raises NotFound when the ledger lacks one of them."""
    if not named:
        return dataset.shards.all()
    numbers = set(parse_range(named))
    shards = dataset.shards.filter(number__in=numbers)
    if missing := numbers - set(shards.values_list("number", flat=True)):
        raise NotFound(f"{dataset} has no shard {spans(missing)}.")
    return shards
