"""Searches as commands make them: for no user, without limits."""

from typing import Any

import numpy as np
from django.contrib.auth.models import AnonymousUser

from search.query.model import SearchQuery
from search.retrieval import service
from search.retrieval.explanation import Explanation


def find(query: SearchQuery, user: Any = None) -> service.Page:
    return service.search(query, user or AnonymousUser(), service.unlimited)


def embed(query: SearchQuery, user: Any = None) -> np.ndarray:
    return service.embed(query, user or AnonymousUser(), service.unlimited).vector


def rank(query: SearchQuery, count: int) -> service.RankedIds:
    return service.rank(query, AnonymousUser(), service.unlimited, count)


def explain(query: SearchQuery, item_id: int) -> tuple[Explanation, ...]:
    return service.explain(query, AnonymousUser(), service.unlimited, item_id)
