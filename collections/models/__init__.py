"""The models of what belongs to a user."""

from .collection import Collection, CollectionItem
from .concept import Concept, ConceptVersion
from .export import Export
from .preferences import Preferences
from .refinement import Refinement, Round
from .saved_search import HistoryEntry, SavedSearch
from .token import Token

__all__ = [
    "Collection",
    "CollectionItem",
    "Concept",
    "ConceptVersion",
    "Export",
    "HistoryEntry",
    "Preferences",
    "Refinement",
    "Round",
    "SavedSearch",
    "Token",
]
