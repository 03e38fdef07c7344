"""Build a dataset of ten million rows by the product's import, and search it.

    .venv/bin/python benchmarks/scale.py --folder DIR [--vectors FOLDER] [--rows N]

Shards in LAION's layout are written one by one, imported and removed; by default they
have vectors of images only. At a hundredth, a tenth and all of the rows, 300 questions
by words are asked, and the answers compared with exact ones. From the figures a table
for much larger datasets is computed. Where the disk is too small for the rows, fewer
are built. A run that was stopped continues where it was, if it has the same --folder;
without one, everything is removed at the end.
"""

import argparse
import os
import shutil
import sys
import tempfile
from math import ceil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"
for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL", "CELERY_BROKER_URL"):
    os.environ.pop(name, None)

ROWS = 10_000_000
SHARD_ROWS = 100_000  # at most
GROWTH = 10  # from one size to the next
BYTES_PER_ROW = 3_700  # of all tables; with captions, MORE_WITH_CAPTIONS as well
MORE_WITH_CAPTIONS = 1_400
PARTITION_ROWS = 800_000  # that are on the disk twice while they are published


def main() -> None:
    options = arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a run takes hours: show it in a file
    temporary = None if options.folder else tempfile.TemporaryDirectory()
    folder = (options.folder or Path(temporary.name)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["VAR_DIR"] = str(folder / "var")
    start_django()
    run(options, folder)


def arguments() -> argparse.Namespace:
    from vector_sources import add_option

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--sizes", type=int, default=3, help="each ten times the last")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--captions", action="store_true", help="with vectors, too")
    parser.add_argument("--folder", type=Path, help="keeps what is built, to go on")
    add_option(parser)
    return parser.parse_args()


def start_django() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def run(options: argparse.Namespace, folder: Path) -> None:
    from scaling import sizing, stages
    from scaling.growth import Growth
    from scaling.shards import Shards
    from vector_sources import describe, open_source

    rows = affordable(options.rows, folder, options.captions)
    times = GROWTH ** (options.sizes - 1)
    first = ceil(rows / times / SHARD_ROWS)  # shards of the smallest size
    shard_rows = max(1, rows // times // first)
    source = open_source(options.vectors)
    print(f"{times * first} shards of {shard_rows:,}, {describe(options.vectors)}.")
    shards = Shards(source, folder / "shards", shard_rows, options.captions)
    growth = Growth(shards, source.questions[: options.questions], folder)
    measured = []
    for count in (first * GROWTH**step for step in range(options.sizes)):
        kept = folder / f"measured-{count * shard_rows}.json"
        if not kept.exists():
            growth.grow(count)
            stages.measure(growth.truth, growth.costs()).save(kept)
        measured.append(stages.Measured.load(kept))
        print(f"\n{stages.table(measured)}\n")
    print(sizing.table([each.stage for each in measured]))


def affordable(rows: int, folder: Path, captions: bool) -> int:
    """Return as many of the rows as the disk has room for; say so if it is less."""
    each = BYTES_PER_ROW + (MORE_WITH_CAPTIONS if captions else 0)
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free + used
    room = free // each - 2 * PARTITION_ROWS
    needed = (rows + 2 * min(rows, PARTITION_ROWS)) * each
    print(
        f"{rows:,} rows need {needed / 1e9:.0f} GB of disk, {free / 1e9:.0f} are free"
    )
    if rows <= 2 * PARTITION_ROWS or room >= rows:
        return rows
    fewer = max(SHARD_ROWS, room // SHARD_ROWS * SHARD_ROWS)
    print(f"So {fewer:,} rows are built.")
    return fewer


if __name__ == "__main__":
    main()
