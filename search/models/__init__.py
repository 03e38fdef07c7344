"""What Django knows of datasets: the registry, the ledger of imports, measurements."""

from .ledger import Partition, Reject, Shard
from .picking import Conversion, ConversionFile, Pick
from .registry import Dataset, Evaluation
from .removal import Removal

__all__ = [
    "Conversion",
    "ConversionFile",
    "Dataset",
    "Evaluation",
    "Partition",
    "Pick",
    "Reject",
    "Removal",
    "Shard",
]
