"""The addresses of the site, read from its URL patterns, with something at each.

A new route with a parameter needs an entry for its value here: an object of a user in
OWNED, or what everybody may see in SHARED. A test fails until it has one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from django.utils import timezone
from rest_framework.authentication import SessionAuthentication
from rest_framework.views import APIView

from usercollections.account.tokens import make_token
from usercollections.export.export_request import of_collection
from usercollections.export.storage import MANIFEST, workspace
from usercollections.models import (
    Collection,
    CollectionItem,
    Concept,
    ConceptVersion,
    Export,
    HistoryEntry,
    Refinement,
    Round,
    SavedSearch,
    Token,
)
from usercollections.models.ownership import new_token

METHODS = ("get", "post", "put", "patch", "delete")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
DIMENSION = 512
# Django's own, with permissions of its own.
NOT_OURS = ("admin/",)


@dataclass(frozen=True)
class Route:
    """`pattern` is the whole one, as it is written in the urls modules."""

    pattern: str
    name: str | None
    view: Callable[..., Any]

    @property
    def is_open(self) -> bool:
        """Also to visitors of a closed site."""
        return getattr(self.view, "login_required", True) is False

    @property
    def is_api(self) -> bool:
        """Programs ask for it, and are answered in JSON."""
        return issubclass(getattr(self.view, "cls", object), APIView)

    @property
    def methods(self) -> list[str]:
        """Return the methods of an API view, without those that all views have."""
        return [name for name in METHODS if hasattr(self.view.cls, name)]

    @property
    def knows_sessions(self) -> bool:
        """Return whether the session of a page authenticates the sender."""
        ways = self.view.cls.authentication_classes if self.is_api else ()
        return not self.is_api or SessionAuthentication in ways

    @property
    def prefixes(self) -> list[str]:
        """The pattern up to each of its parameters."""
        return [self.pattern[: match.end()] for match in self.parameters]

    @property
    def parameters(self) -> list[re.Match]:
        return list(PARAMETER.finditer(self.pattern))

    @property
    def is_owned(self) -> bool:
        return any(prefix in OWNED for prefix in self.prefixes)

    @property
    def is_known(self) -> bool:
        known = OWNED.keys() | SHARED.keys()
        return self.pattern in WRITTEN_OUT or all(p in known for p in self.prefixes)

    def address(self, owner: User | None = None) -> str:
        """Where it leads to an object of this user, which is made if need be."""
        if self.pattern in WRITTEN_OUT:
            return WRITTEN_OUT[self.pattern]
        address, start = "/", 0
        for match, prefix in zip(self.parameters, self.prefixes, strict=True):
            made = OWNED.get(self.pattern) or OWNED.get(prefix)
            value = made(owner) if made else SHARED[prefix]
            address += self.pattern[start : match.start()] + str(value)
            start = match.end()
        return address + self.pattern[start:]


def routes() -> list[Route]:
    return list(_walked(get_resolver().url_patterns, ""))


def _walked(patterns: list, before: str) -> Iterator[Route]:
    for entry in patterns:
        pattern = before + str(entry.pattern)
        if pattern.startswith(NOT_OURS):
            continue
        if isinstance(entry, URLResolver):
            yield from _walked(entry.url_patterns, pattern)
        elif isinstance(entry, URLPattern):
            assert isinstance(entry.pattern, RoutePattern) or pattern in WRITTEN_OUT, (
                f"tests/support/routes.py does not say what fits {pattern}"
            )
            yield Route(pattern, entry.name, entry.callback)


def token(owner: User) -> Any:
    if not Token.objects.filter(owner=owner).exists():
        make_token(owner, "notebook", None)
    return Token.objects.filter(owner=owner).latest("created_at").pk


def collection(owner: User) -> Collection:
    """It is private, so that its link leads nowhere; it holds item 7."""
    made = Collection.objects.filter(owner=owner, deleted_at=None).first()
    if made is None:
        made = Collection.objects.create(
            owner=owner, name="boats", share_token=new_token()
        )
    CollectionItem.objects.get_or_create(
        collection=made,
        dataset="postcards",
        item=7,
        defaults={"caption": "a boat", "position": 1},
    )
    return made


def concept(owner: User) -> Concept:
    there = Concept.objects.filter(owner=owner, deleted_at=None).first()
    if there:
        return there
    vector = np.eye(1, DIMENSION, dtype="<f4").tobytes()
    made = Concept.objects.create(
        owner=owner,
        name="night",
        share_token=new_token(),
        model="local-dir:postcards/model",
        vector=vector,
    )
    ConceptVersion.objects.create(concept=made, number=1, vector=vector)
    return made


def round_(owner: User) -> Any:
    """One of refining, which no address has in it."""
    vector = np.eye(1, DIMENSION, 1, dtype="<f4").tobytes()
    refinement, _ = Refinement.objects.get_or_create(
        owner=owner,
        dataset="postcards",
        defaults={"address": "q=a+boat", "label": "a boat", "start": vector},
    )
    made, _ = Round.objects.get_or_create(
        refinement=refinement, number=1, defaults={"vector": vector, "good": [7]}
    )
    return made.pk


def deleted(thing: Collection | Concept) -> Any:
    type(thing).objects.filter(pk=thing.pk).update(deleted_at=timezone.now())
    return thing.pk


def saved_search(owner: User) -> Any:
    made, _ = SavedSearch.objects.get_or_create(
        owner=owner,
        name="boats",
        dataset="postcards",
        address="q=a+boat",
        defaults={"looked_at": timezone.now()},
    )
    return made.pk


def history_entry(owner: User) -> Any:
    made, _ = HistoryEntry.objects.get_or_create(
        owner=owner,
        digest="0" * 64,
        defaults={
            "dataset": "postcards",
            "address": "q=a+boat",
            "label": "a boat",
            "searched_at": timezone.now(),
        },
    )
    return made.pk


def export(owner: User) -> Any:
    """One that is done, with its manifest alone."""
    there = Export.objects.filter(owner=owner, state=Export.State.DONE).first()
    if there:
        return there.pk
    made = Export.objects.create(
        owner=owner,
        name="boats",
        asked=of_collection(owner, collection(owner).pk, "csv").to_dict(),
        state=Export.State.DONE,
        attempts=1,
        manifest={"files": [{"name": "a", "rows": 1, "bytes": 1, "sha256": ""}]},
        expires_at=timezone.now() + timedelta(days=1),
    )
    (workspace(made.pk, 1) / MANIFEST).write_text("{}")
    return made.pk


OWNED: dict[str, Callable[[User], Any]] = {
    "account/tokens/<uuid:token>": token,
    "collections/<uuid:key>": lambda owner: collection(owner).pk,
    "collections/<uuid:key>/restore": lambda owner: deleted(collection(owner)),
    "collections/shared/<slug:token>": lambda owner: collection(owner).share_token,
    "concepts/<uuid:key>": lambda owner: concept(owner).pk,
    "concepts/<uuid:key>/undelete": lambda owner: deleted(concept(owner)),
    "concepts/shared/<slug:token>": lambda owner: concept(owner).share_token,
    "exports/<uuid:export_id>": export,
    "api/collections/<uuid:collection_id>": lambda owner: collection(owner).pk,
    "api/collections/shared/<slug:token>": lambda owner: collection(owner).share_token,
    "api/concepts/<uuid:concept_id>": lambda owner: concept(owner).pk,
    "api/concepts/shared/<slug:token>": lambda owner: concept(owner).share_token,
    "api/exports/<uuid:export_id>": export,
    "api/searches/<uuid:key>": saved_search,
    "searches/<uuid:key>": saved_search,
    "searches/history/<uuid:key>": history_entry,
}
SHARED: dict[str, Any] = {
    "exports/<uuid:export_id>/files/<str:name>": "manifest.json",
    "api/collections/<uuid:collection_id>/items/<slug:dataset>": "postcards",
    "api/collections/<uuid:collection_id>/items/<slug:dataset>/<int:item_id>": 7,
    "api/exports/<uuid:export_id>/files/<str:name>": "manifest.json",
    "api/deleted-datasets/<int:number>": 7,
    "d/<slug:slug>": "postcards",
    "d/<slug:slug>/<int:item_id>": 7,
    "datasets/deleted/<int:number>": 7,
    "t/<slug:slug>": "postcards",
    "t/<slug:slug>/<int:item_id>": 7,
    "t/<slug:slug>/<int:item_id>/<int:size>": 320,
    "ingestion/<slug:slug>": "postcards",
    "ingestion/<slug:slug>/rejects/<int:reject>": 1,
    "api/datasets/<slug:slug>": "postcards",
    "api/datasets/<slug:slug>/items/<int:item_id>": 7,
    "api/datasets/<slug:slug>/shards/<slug:action>": "pause",
    "postcards/<int:postcard_id>": 7,
    "api/uploads/<slug:key>": "0" * 32,  # nobody has it
    "datasets/add/fetch/<slug:key>": "0" * 32,
    "datasets/add/upload/<slug:key>": "0" * 32,
}
WRITTEN_OUT = {
    "bundle/<slug:version>.<slug:kind>": "/bundle/old.css",
    r"accounts/^confirm-email/(?P<key>[-:\w]+)/$": "/accounts/confirm-email/a:b/",
    r"accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": (
        "/accounts/password/reset/key/1-abc/"
    ),
    "api/^search/?$": "/api/search/?dataset=postcards&q=a+boat",
    "api/": "/api/nothing-here/",
    "^[/]*indices-list/*$": "/indices-list",
    "^[/]*knn-service/*$": "/knn-service",
    "^[/]*metadata/*$": "/metadata",
}
