"""Requests made up from the API's description of itself, and what answers must be."""

import copy
import random
import re
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks as promised
from schemathesis.specs.openapi.schemas import OpenApiSchema

from search.ingestion.setup import uploads
from support import routes
from usercollections.models import Collection, Concept, Export

PROMISES = [
    checks.not_a_server_error,
    promised.status_code_conformance,
    promised.content_type_conformance,
    promised.response_headers_conformance,
    promised.response_schema_conformance,
    promised.negative_data_rejection,
]
CONFIG = {
    "seed": 1,
    # Who asks is said by the test; nothing is looked up in our own modules.
    "generation": {"with-security-parameters": False},
    "analysis": {"constants": {"enabled": False}},
}
DRAWN = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
POSITIVE = GenerationMode.POSITIVE
# Where more is asked for than a schema can say, so that good requests are refused:
# what a text means, which things fit each other, what the dataset has.
PARTICULAR = {
    "GET /api/search/",
    "PATCH /api/collections/{collection_id}/",
    "PATCH /api/datasets/{slug}/",
    "PATCH /api/searches/{key}/",
    "POST /api/concepts/",
    "POST /api/concepts/{concept_id}/versions/",
    "POST /api/datasets/",
    "POST /api/datasets/{slug}/shards/{action}/",
    "POST /api/exports/",
    "POST /api/searches/",
    "POST /api/uploads/",
    "POST /api/uploads/{key}/fetch/",
    "PUT /api/datasets/{slug}/watch/",
    "PUT /api/uploads/{key}/file/",
}
PARAMETER = re.compile(r"{(\w+)}")
# Kinds of terms that need no more than a look at the postcards.
EASY = {"text", "item"}
DIMENSION = 512  # of the postcards
MADE = {"collection": routes.collection, "concept": routes.concept}


def described() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def loaded(description: dict[str, Any]) -> OpenApiSchema:
    """For requests to this process; answers may hold nothing that is not described."""
    strict = copy.deepcopy(description)
    for name, shape in strict["components"]["schemas"].items():
        is_answer = not name.endswith("Request") and "properties" in shape
        if is_answer and "additionalProperties" not in shape:
            shape["additionalProperties"] = False
    config = schemathesis.Config.from_dict(CONFIG)
    schema = schemathesis.openapi.from_dict(strict, config=config)
    schema.app = get_wsgi_application()
    checks.load_all_checks()
    return schema


def operations(schema: OpenApiSchema) -> list[APIOperation]:
    return [result.ok() for result in schema.get_all_operations()]


def cases(operation: APIOperation, count: int) -> list[Case]:
    """At the edges of what is described and beyond, and some drawn by chance.

    Of all that are at the edges `count`, in no order, and an eighth as many others.
    They are the same ones each time.
    """
    found = list(
        operation.schema.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=operation.schema.config.generation,
        )
    )
    chance = random.Random(operation.label)
    edges = chance.sample(found, min(count, len(found)))
    # Of a path alone hardly anything is wrong that is still its own.
    modes = GenerationMode if operation.query or operation.body else [POSITIVE]
    drawn = [case for mode in modes for case in _drawn(operation, mode, count // 16)]
    return [*edges, *drawn]


def _drawn(operation: APIOperation, mode: GenerationMode, count: int) -> list[Case]:
    found: list[Case] = []

    @settings(DRAWN, max_examples=max(count, 1))
    @given(operation.as_strategy(generation_mode=mode))
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return found


@dataclass
class Asking:
    """Somebody who asks, and what of theirs stands in paths and bodies.

    `dataset` is the one that they may change, and drop.
    """

    owner: User
    headers: dict[str, str]
    dataset: str
    failures: list[str] = field(default_factory=list)
    statuses: dict[str, set[int]] = field(default_factory=dict)

    def ask(self, case: Case, promises: list[Any] = PROMISES, far: bool = True) -> int:
        """Sends a request, undoes what it did, and returns the status.

        It is led `far`, to where something is there, if that is wanted: ids and vectors
        that are made up fit by no chance.
        """
        label = case.operation.label
        with transaction.atomic():
            self._lead(case, far)
            answer = case.call(headers=self.headers)
            transaction.set_rollback(True)
        if answer.status_code == 206:  # a part of JSON is none
            shape = promised.response_schema_conformance
            promises = [promise for promise in promises if promise != shape]
        try:
            case.validate_response(answer, checks=promises, headers=self.headers)
        except FailureGroup as group:
            said = "\n".join(str(each) for each in group.exceptions)
            self.failures.append(f"{label}: {said}\n{case.as_curl_command()}")
        self.statuses.setdefault(label, set()).add(answer.status_code)
        return answer.status_code

    @property
    def reached(self) -> set[str]:
        """The operations that have done what they were asked for."""
        done = {200, 201, 202, 204}
        return {label for label, found in self.statuses.items() if found & done}

    def _lead(self, case: Case, far: bool) -> None:
        if case.path_parameters and not _is_bad(case, ParameterLocation.PATH):
            real = self._real(case.operation)
            case.path_parameters = {**case.path_parameters, **real}
        for location, told in (
            (ParameterLocation.QUERY, case.query),
            (ParameterLocation.BODY, case.body),
        ):
            if isinstance(told, dict) and not _is_bad(case, location):
                if far:
                    self._ask_for_something(told, case.operation.label)
                self._complete(told, far)

    def _complete(self, told: dict[str, Any], far: bool) -> None:
        """Make what has to fit the dataset fit, at any depth."""
        if isinstance(told.get("dataset"), str | list):
            told["dataset"] = "postcards"
        if not far:
            return
        told.pop("cursor", None)
        for name, made in MADE.items():
            if isinstance(told.get(name), str):
                told[name] = str(made(self.owner).pk)
        if isinstance(told.get("embedding"), list):
            told["embedding"] = [1.0] * DIMENSION
        if isinstance(told.get("terms"), list):
            told["terms"] = easy_terms(told["terms"])
        if isinstance(told.get("filters"), dict):
            told["filters"] |= {"caption": "", "site": ""}
        for part in told.values():
            if isinstance(part, dict):
                self._complete(part, far)

    def _ask_for_something(self, told: dict[str, Any], label: str) -> None:
        if label == "POST /api/search/":
            told.setdefault("terms", [{"text": "a boat"}])
        if label == "GET /api/search/":
            told.pop("embedding", None)
            told["q"] = "a boat"
        if label == "DELETE /api/datasets/{slug}/":
            told["sure"] = self.dataset
        if label == "PUT /api/uploads/{key}/file/":
            told |= {"name": "boat.jpg", "offset": 0, "size": 10**6, "version": ""}

    def _real(self, operation: APIOperation) -> dict[str, Any]:
        real = real_parameters(operation.path, self.owner)
        if "slug" in real and operation.method.upper() != "GET":
            real["slug"] = self.dataset
        if "/shared/" in operation.path:
            for kind in (Collection, Concept):
                kind.objects.filter(owner=self.owner).update(visibility="unlisted")
        if "/uploads/" in operation.path:
            real["key"] = uploads.create(self.owner.pk).key
        if operation.path.endswith("/cancel/"):
            Export.objects.filter(owner=self.owner).update(state="queued")
        real.pop("action", None)  # each has its turn
        return real


def promises(case: Case, far: bool) -> list[Any]:
    """Return the checks of a response; a valid, far-reaching request must succeed."""
    if far and case.operation.label not in PARTICULAR:
        return [*PROMISES, promised.positive_data_acceptance]
    return PROMISES


def is_good(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


def _is_bad(case: Case, location: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(location)


def real_parameters(path: str, owner: User) -> dict[str, Any]:
    """Return ids of existing objects for a path, by the names of its parameters."""
    if not PARAMETER.search(path):
        return {}
    for route in routes.routes():
        if routes.PARAMETER.sub(r"{\1}", f"/{route.pattern}") == path:
            shape = PARAMETER.sub(r"(?P<\1>[^/]+)", path)
            found = re.fullmatch(shape, route.address(owner))
            return found.groupdict()
    raise AssertionError(f"There is no route {path}.")


def easy_terms(terms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return terms that find something: those with a text or an item, made to exist."""
    easy = [term for term in terms if EASY & term.keys()]
    for term in easy:
        term |= {"item": 7} if "item" in term else {"text": "a boat"}
    return easy or [{"text": "a boat"}]
