"""The registry of datasets, the ledger of their imports, removals and picks."""

from .ledger import CalibrationRun, DatasetProfile, Partition, Reject, Shard, Training
from .notice import ImportNotice
from .picking import Conversion, ConversionFile, Pick, Picker
from .registry import Dataset, Evaluation
from .removal import Removal
from .visibility import SYSTEM, Viewer
from .watching import SourceFile, Watch

__all__ = [
    "SYSTEM",
    "CalibrationRun",
    "Conversion",
    "ConversionFile",
    "Dataset",
    "DatasetProfile",
    "Evaluation",
    "ImportNotice",
    "Partition",
    "Pick",
    "Picker",
    "Reject",
    "Removal",
    "Shard",
    "SourceFile",
    "Training",
    "Viewer",
    "Watch",
]
