"""Collections for tests: made by the same functions as the pages use, or in bulk."""

import json
from uuid import uuid4

from django.urls import reverse

from search.models import SYSTEM
from search.retrieval import item_lookup

PICTURES = {"url": "https://example.org/p.jpg", "width": 640, "height": 480}


def keys(*ids: int, dataset: str = "postcards"):
    from usercollections.collection.item_keys import ItemKey

    return [ItemKey(dataset, item) for item in ids]


def as_items(*ids: int, dataset: str = "postcards") -> str:
    return json.dumps([{"dataset": dataset, "id": item} for item in ids])


def collection(
    user, *ids: int, name: str = "boats", dataset: str = "postcards", **more
):
    """A collection of items that the engine has."""
    from usercollections.collection import members
    from usercollections.models import Collection

    made = Collection.objects.create(owner=user, name=name, **more)
    if ids:
        members.add(user, made.pk, keys(*ids, dataset=dataset))
        made.refresh_from_db()
    return made


def filled(user, count: int, name: str = "many", dataset: str = "nowhere"):
    """A collection of made-up items of a dataset that is not there."""
    from usercollections.collection.members import recount
    from usercollections.models import Collection, CollectionItem
    from usercollections.positions import GAP

    made = Collection.objects.create(owner=user, name=name)
    CollectionItem.objects.bulk_create(
        [
            CollectionItem(
                collection=made,
                dataset=dataset,
                item=place,
                caption=f"caption {place * 7919 % count}",
                position=GAP * place,
                batch=uuid4(),
                **PICTURES,
            )
            for place in range(1, count + 1)
        ],
        batch_size=5_000,
    )
    recount(made)
    return made


def order_of(made) -> list[int]:
    """The items in the order made by hand."""
    rows = made.items.order_by("position", "pk")
    return list(rows.values_list("item", flat=True))


def address(name: str, made) -> str:
    return reverse(f"collection-{name}" if name else "collection", args=[made.pk])


def post(client, where: str, **data):
    """As the scripts do."""
    headers = {"X-Requested-With": "XMLHttpRequest"}
    return client.post(where, data, headers=headers)


def undone(client, answer):
    """Presses Undo in the toast of an answer."""
    undo = answer.json()["toast"]["undo"]
    return post(client, undo["url"], **undo["data"])


def first_ids(dataset: str, count: int) -> list[int]:
    """Some ids that are there."""
    return list(item_lookup.facts(dataset, list(range(count)), SYSTEM))[:count]
