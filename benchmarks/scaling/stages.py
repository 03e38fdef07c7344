"""Questions to a dataset of some size, and a table of what they cost."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from search.clickhouse import centroids, client
from search.clickhouse.schema import VECTOR_COLUMNS
from search.evaluation.calibration import KINDS
from search.models import SYSTEM, Dataset
from search.query.filters import Filters
from search.query.model import DEFAULT_RECALL, SearchQuery, Term
from search.retrieval import service

from .growth import SLUG, Cost
from .sizing import Search, Stage
from .truth import COUNT, Truth

RECALLS = (DEFAULT_RECALL, 0.8, 0.9, 0.99)
WARMING = 5


@dataclass(frozen=True)
class Answers:
    """The costs of asking all questions, with one recall asked for."""

    asked: float
    recall: float
    share: float  # of the rows, that are read
    cpu_ms: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Measured:
    """A dataset at one size: the default recall first."""

    rows: int
    parts: int
    clusters: int
    bytes_by_table: dict[str, int]
    vectors: int  # that the tables store of a row
    answers: tuple[Answers, ...]
    cpu_s: dict[str, float]  # of building it, by step
    peak_mb: float

    @classmethod
    def load(cls, file: Path) -> "Measured":
        value = json.loads(file.read_text())
        answers = tuple(Answers(**each) for each in value.pop("answers"))
        return cls(answers=answers, **value)

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @property
    def stage(self) -> Stage:
        return Stage(
            rows=self.rows,
            clusters=self.clusters,
            rows_read=self.answers[0].share * self.rows,
            bytes=sum(self.bytes_by_table.values()),
            vectors=self.vectors,
            build_cpu_s=sum(self.cpu_s.values()),
            searches=tuple(
                Search(self.parts, answers.share * self.rows, answers.cpu_ms)
                for answers in self.answers
            ),
        )


def measure(truth: Truth, costs: Sequence[Cost]) -> Measured:
    dataset = Dataset.for_slug(SLUG, SYSTEM)
    table = dataset.item_table
    steps = {cost.step: 0.0 for cost in costs}
    for cost in costs:
        steps[cost.step] += cost.cpu_s
    live = centroids.live_versions(table, "image")
    stored = bytes_by_table()
    clustered = [
        field for field in VECTOR_COLUMNS if table.clustered(field).name in stored
    ]
    return Measured(
        rows=client.rows(f"SELECT count() AS n FROM {table.name}")[0]["n"],
        parts=parts(table.clustered("image").name),
        clusters=sum(len(version.centroids) for version in live),
        bytes_by_table=stored,
        vectors=len(VECTOR_COLUMNS) + len(clustered),
        answers=tuple(ask(dataset, truth, recall) for recall in RECALLS),
        cpu_s=steps,
        peak_mb=max(cost.peak_mb for cost in costs),
    )


def ask(dataset: Dataset, truth: Truth, recall: float) -> Answers:
    """Ask all questions, for ten results without filters, of a part of the recall."""
    cpu, wall, right = [], [], []
    for number in range(-WARMING, len(truth.questions)):
        vector = truth.questions[number % len(truth.questions)]
        cpu_started, started = time.process_time(), time.perf_counter()
        found = search(vector, recall)
        if number >= 0:
            wall.append((time.perf_counter() - started) * 1000)
            cpu.append((time.process_time() - cpu_started) * 1000)
            right.append(truth.recall(number, found))
    p50, p95 = np.percentile(wall, [50, 95]).tolist()
    return Answers(recall, mean(right), share(dataset, recall), mean(cpu), p50, p95)


def search(vector: np.ndarray, recall: float) -> list[int]:
    query = SearchQuery(
        SLUG,
        (Term(embedding=tuple(vector.tolist())),),
        filters=Filters(nsfw="any", dedupe=False),
        limit=COUNT,
        recall=recall,
    )
    return [hit.id for hit in service.search(query, SYSTEM, service.unlimited).hits]


def share(dataset: Dataset, recall: float) -> float:
    """Return the share of the rows that a search reads by the calibration."""
    curves = [dataset.curve("image", kind) for kind in KINDS]
    shares = [curve.share_for(recall, COUNT) for curve in curves if curve]
    return max(shares, default=1.0)


def parts(table: str) -> int:
    sql = (
        "SELECT count() AS n FROM system.parts WHERE active "
        "AND database = currentDatabase() AND table = {table:String}"
    )
    return client.rows(sql, {"table": table})[0]["n"]


def bytes_by_table() -> dict[str, int]:
    sql = (
        "SELECT table, sum(bytes_on_disk) AS bytes FROM system.parts "
        "WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
    )
    return {row["table"]: row["bytes"] for row in client.rows(sql)}


def table(measured: Sequence[Measured]) -> str:
    """Return what was measured in Markdown, a column for each size."""
    columns = [dict(figures(each)) for each in measured]
    names = list(columns[0])
    heads = " | ".join(f"{each.rows:,} rows" for each in measured)
    lines = [f"| | {heads} |", "|---|" + "---|" * len(measured)]
    lines += [
        f"| {name} | {' | '.join(column.get(name, '–') for column in columns)} |"
        for name in names
    ]
    return "\n".join(lines)


def figures(measured: Measured) -> list[tuple[str, str]]:
    rows, default = measured.rows, measured.answers[0]
    found = [
        ("parts, clusters", f"{measured.parts}, {measured.clusters:,}"),
        (f"recall@{COUNT} by default", f"{default.recall:.3f}"),
        ("rows read", f"{default.share * rows:,.0f} ({default.share:.2%})"),
        ("CPU ms", f"{default.cpu_ms:.1f}"),
        ("p50 / p95 ms", f"{default.p50_ms:.1f} / {default.p95_ms:.1f}"),
    ]
    found += [
        (
            f"recall={each.asked:g}: recall, rows read, CPU ms",
            f"{each.recall:.3f}, {each.share * rows:,.0f}, {each.cpu_ms:.1f}",
        )
        for each in measured.answers[1:]
    ]
    found += [
        (f"{step}: CPU µs a row", f"{seconds / rows * 1e6:,.0f}")
        for step, seconds in measured.cpu_s.items()
    ]
    found += [
        (f"{name}: bytes a row", f"{count / rows:,.0f}")
        for name, count in measured.bytes_by_table.items()
    ]
    return [*found, ("peak of the import's own memory", f"{measured.peak_mb:,.0f} MB")]
