"""The registry of datasets, the ledger of their imports, removals and picks."""

from .ledger import CalibrationRun, Partition, Reject, Shard, Training
from .picking import Conversion, ConversionFile, Pick
from .registry import SYSTEM, Dataset, Evaluation, Viewer
from .removal import Removal

__all__ = [
    "SYSTEM",
    "CalibrationRun",
    "Conversion",
    "ConversionFile",
    "Dataset",
    "Evaluation",
    "Partition",
    "Pick",
    "Reject",
    "Removal",
    "Shard",
    "Training",
    "Viewer",
]
