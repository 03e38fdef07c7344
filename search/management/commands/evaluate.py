"""Measure the recall and latency of a dataset's index, for the dataset's page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from search.errors import SearchError, SearchUnavailable
from search.evaluation.advice import advice
from search.evaluation.recall import WIDER_RECALL, Question, encode_questions, evaluate
from search.ingestion.clusters import is_outgrown
from search.models import Evaluation

HEADING = (
    f"{'':22} {'read':>7} {'recall@1':>9} {'@10':>6} {'@100':>6} "
    f"{'index p50':>10} {'p95':>7} {'exact p50':>10} {'p95':>7} ms"
)


class Command(BaseCommand):
    help = "Measures recall and latency of a dataset's index against the exact search."
    requires_system_checks = ()  # they are the server's, and would slow this down

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="The dataset.")
        parser.add_argument(
            "--queries",
            type=int,
            default=100,
            metavar="N",
            help="Search with the images and captions of N items (%(default)s).",
        )
        parser.add_argument(
            "--words",
            type=Path,
            metavar="FILE",
            help="Ask with these words, one query a line, in place of captions.",
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="Another seed draws other items."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(
        self,
        *,
        slug: str,
        queries: int,
        words: Path | None,
        seed: int,
        json: bool,
        **options: Any,
    ) -> None:
        if queries < 1:
            raise CommandError("At least one query is needed.")
        try:
            questions = self.read_questions(slug, words) if words else ()
            with tqdm(desc="Searching", unit=" searches", disable=None) as bar:
                evaluation = evaluate(slug, queries, seed, questions, bar.update)
        except SearchError as error:
            raise CommandError(error.message) from error
        self.stdout.write(as_json(evaluation) if json else as_table(evaluation))

    def read_questions(self, slug: str, path: Path) -> Sequence[Question]:
        """Encode the lines of a file; return none if the model is unavailable."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            raise CommandError(f"{path} has no queries.")
        try:
            return encode_questions(slug, lines)
        except SearchUnavailable as error:
            self.stderr.write(
                f"{error.message} Captions of the dataset stand in for {path}."
            )
            return ()


def as_json(evaluation: Evaluation) -> str:
    return json.dumps(
        {
            "dataset": evaluation.dataset.slug,
            "created_at": evaluation.created_at.isoformat(),
            "words": evaluation.words,
            "rows": evaluation.rows,
            "rows_without_index": evaluation.rows_without_index,
            "figures": evaluation.figures,
            "advice": _advice(evaluation),
        },
        indent=2,
    )


def as_table(evaluation: Evaluation) -> str:
    lines = [
        f"{evaluation.dataset}: {evaluation.rows:,} rows, "
        f"asked with {evaluation.asked_with()}.",
        HEADING,
        *(
            f"{each['name']:22} {_read(each):>7} "
            f"{each['recall_1']:9.3f} {each['recall_10']:6.3f} "
            f"{each['recall_100']:6.3f} {each['ann_p50_ms']:10.1f} "
            f"{each['ann_p95_ms']:7.1f} {each['exact_p50_ms']:10.1f} "
            f"{each['exact_p95_ms']:7.1f}"
            for each in evaluation.figures
        ),
        *_at_higher_recall(evaluation),
        *_advice(evaluation),
    ]
    return "\n".join(lines)


def _read(figures: dict[str, Any]) -> str:
    """Return the candidates in a graph, or the share of the rows in clusters."""
    share = figures["share"]
    return f"{figures['width']:,}" if share is None else f"{share:.2%}"


def _advice(evaluation: Evaluation) -> list[str]:
    return advice(evaluation, is_outgrown(evaluation.dataset))


def _at_higher_recall(evaluation: Evaluation) -> list[str]:
    """Return what searches of clusters find if they are asked for more."""
    return [
        f"{each['name']:22} {each['wider_share']:7.2%} {'':9} "
        f"{each['wider_recall_10']:6.3f} {'':6} {each['wider_p50_ms']:10.1f}"
        f"  with recall={WIDER_RECALL}"
        for each in evaluation.figures
        if each["wider_share"] is not None
    ]
