"""Which tests run in one process of make test, and which of them first."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

# Modules of a group run in one process, which makes what they share only once: they
# are those in which a test or a fixture asks for one of these.
GROUPS = {
    "server": re.compile(r"\bdef \w+\([^)]*\b(live_server_process|opened)\b"),
    "crowds": re.compile(r"\bdef \w+\([^)]*\b(crowds?|flock)\b"),
}
# A module that opens pages of a server of its own shares none.
OWN_SERVER = re.compile(r"^def opened\(", re.MULTILINE)
# The groups and modules that take longest, longest first: processes begin with them,
# so that none is left with one when the others have finished.
SLOW = [
    "server",
    "crowds",
    "test_ingestion_faults",
    "test_account_browser",
    "test_api_contract",
    "test_ingestion_publishing",
    "test_account_matrix",
    "test_ingestion_commands",
    "test_production_shape",
    "test_search_udf",
    "test_setup",
    "test_encoder_remote",
    "test_search_cluster",
    "test_ingestion_clusters",
    "test_search_evaluate",
    "test_search_calibration",
    "test_structure",
    "test_search_safety",
    "test_export_img2dataset",
    "test_search_pages",
    "test_export_round_trip",
]


@cache
def unit_of(module: Path) -> str:
    """Return the group of a module, or its own name."""
    text = module.read_text(encoding="utf-8")
    if OWN_SERVER.search(text):
        return module.stem
    groups = (name for name, asks in GROUPS.items() if asks.search(text))
    return next(groups, module.stem)


def place_of(module: Path) -> int:
    unit = unit_of(module)
    return SLOW.index(unit) if unit in SLOW else len(SLOW)


class Scheduling(LoadFileScheduling):
    """Hands out groups of modules, and modules that belong to none."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(self.config.rootpath / super()._split_scope(nodeid))
