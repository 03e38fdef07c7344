"""Compare searches at equal recall: the layers of laionweb, and other engines.

    .venv/bin/python benchmarks/search.py --rows 100000 1000000 [--vectors FOLDER]

The questions are word vectors, which lie off the images; the ten nearest are requested,
with all that the API shows of them. Each system is tuned by other words, apart for each
filter, to the least effort that finds 95 % of the ten nearest; laionweb's own layers
search by its defaults. All systems are queried in turn, so compare ratios, and CPU time
rather than the clock: the times depend on the machine. Every graph has M = 32; ours is
built with ef_construction 64, the peers' with 128. Peers need
benchmarks/requirements.txt; those that build slowly are measured only up to
--peer-rows. A folder named by --folder is reused by the next run.

Vectors are drawn with the geometry of CLIP's (clip_like.py), or bootstrapped from the
real ones of a folder (real_vectors.py).
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "laionweb.settings"
# One thread compares vectors in numpy, as one does in each of the others.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.environ["LIMIT_SEARCH"] = ""  # no limit: all requests come from one visitor
for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL", "CELERY_BROKER_URL"):
    os.environ.pop(name, None)

PEERS = ("pgvector", "qdrant-edge", "usearch", "faiss", "numpy")


def main() -> None:
    options = arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a run takes long: show it in a file
    temporary = None if options.folder else tempfile.TemporaryDirectory()
    folder = (options.folder or Path(temporary.name)).resolve()
    folder /= "real" if options.vectors else "drawn"
    folder.mkdir(parents=True, exist_ok=True)
    for opened in (folder, folder.parent):
        opened.chmod(0o755)  # PostgreSQL may run as another user
    os.environ["VAR_DIR"] = str(folder / "var")
    start_django()
    # Models can be imported from here on.
    from engines import comparison

    comparison.run(options, folder)


def arguments() -> argparse.Namespace:
    from vector_sources import add_option

    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=(*PEERS, "none"))
    parser.add_argument("--peer-rows", type=int, default=100_000)
    parser.add_argument(
        "--seconds", type=float, default=1, help="of a burst; 0 for none"
    )
    parser.add_argument("--postcards", type=int, default=10_000, help="0 for none")
    parser.add_argument("--folder", type=Path, help="keeps and reuses what is built")
    add_option(parser)
    return parser.parse_args()


def start_django() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    main()
