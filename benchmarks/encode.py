"""Words and pictures into vectors: in the process that asks, and by encode workers.

    .venv/bin/python benchmarks/encode.py [--quick] [--precision bfloat16]

The model is ViT-B/32 with random weights, which cost as much as real ones. Users ask
again as soon as they have an answer, all of them other things, and nothing is
remembered. All ways take turns, so that what else the machine does hits them alike; CPU
times are those of everything that takes part, and the steadier figures on a busy
machine. Needs redis-server.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
FOLDER = tempfile.TemporaryDirectory()
os.environ.update(VAR_DIR=FOLDER.name, DJANGO_SETTINGS_MODULE="laionweb.settings")
for name in ("DATABASE_URL", "CLICKHOUSE_URL", "CACHE_URL", "CELERY_BROKER_URL"):
    os.environ.pop(name, None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the encoders.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    os.environ.update(ENCODER_DEVICE=given.device, ENCODER_PRECISION=given.precision)
    import django

    django.setup()
    from encoders import report
    from encoders.model import random_model
    from encoders.sites import sites
    from encoders.users import measure_in_turn

    users = {"texts": (1, 64), "pictures": (1,)}
    if not given.quick:
        users = {"texts": (1, 8, 64), "pictures": (1, 8, 64)}
    rounds = 2 if given.quick else 3
    model = random_model(Path(FOLDER.name))
    report.print_machine(model)
    with sites(Path(FOLDER.name), model) as places:
        for kind, many in users.items():
            report.print_users(kind, measure_in_turn(kind, places, many, rounds))
        report.print_requests(places, 20 if given.quick else 100)
    report.print_bulk(model, 64 if given.quick else 256)
    report.print_targets()


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"\nIt took {time.perf_counter() - started:.0f} s.")
