"""Every refusal as {"detail": sentence, "code": word}, with its status.

That of an unreadable word has its "position" in the query, too: [start, end].
"""

import logging
from typing import Any

from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParserError
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    NotAuthenticated,
    ParseError,
    ValidationError,
)
from rest_framework.renderers import JSONRenderer
from rest_framework.views import exception_handler

from search.errors import (
    InvalidQuery,
    PictureTooLarge,
    SearchError,
    SearchUnavailable,
    TooManyRequests,
    UnreadableWord,
)

WITHOUT_TOKEN = (
    "This wants an account: send a token in the header “Authorization: Token …”."
)

logger = logging.getLogger(__name__)


def api_exception_handler(
    error: Exception, context: dict[str, Any]
) -> HttpResponse | None:
    """As JSON, whatever a view answers with when it does not refuse."""
    if isinstance(error, SearchError):
        if isinstance(error, SearchUnavailable):
            logger.warning("%s", error.message, exc_info=error)
        return _answer_to(error)
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database: %s", error, exc_info=error)
        return _answer_to(SearchUnavailable("The database does not answer."))
    if isinstance(error, RequestDataTooBig):
        return _answer_to(PictureTooLarge("The request is larger than 16 MB."))
    if isinstance(error, TooManyFieldsSent):
        return _answer_to(InvalidQuery("The address has too many parameters."))
    # Django's own for a body that cannot be read, which is no JSON then.
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
        return _answer_to(InvalidQuery("The request cannot be read."))
    if isinstance(error, RecursionError):
        return _answer_to(InvalidQuery("The JSON is nested too deeply."))
    response = exception_handler(error, context)
    if response is None:
        return None
    told = response.data  # field errors keep REST framework's own form
    if not isinstance(error, ValidationError):
        code = error.default_code if isinstance(error, APIException) else "not_found"
        if isinstance(error, ParseError):
            code = "bad_query"
        detail = str(told["detail"])
        if isinstance(error, NotAuthenticated):
            detail = WITHOUT_TOKEN
        told = {"detail": detail, "code": code}
    return _json(told, response.status_code, dict(response.headers))


def _answer_to(error: SearchError) -> HttpResponse:
    told: dict[str, Any] = {"detail": error.message, "code": error.code}
    if isinstance(error, UnreadableWord):
        told["position"] = [error.start, error.end]
    response = _json(told, error.status)
    if isinstance(error, TooManyRequests):
        response["Retry-After"] = str(error.retry_after_s)
    if error.status == status.HTTP_503_SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return response


def _json(told: Any, code: int, headers: dict[str, str] | None = None) -> HttpResponse:
    headers = {**(headers or {}), "Content-Type": JSONRenderer.media_type}
    return HttpResponse(JSONRenderer().render(told), status=code, headers=headers)


Shape = dict[str, Any]

# Of all operations alike, in the part of the schema that is for schemas.
SHAPES: dict[str, Shape] = {
    "Refusal": {
        "type": "object",
        "description": "Why a request is refused: a sentence for people, a word for "
        "programs. Of a word in the search box that cannot be read, the position too.",
        "properties": {
            "detail": {"type": "string", "description": "One sentence."},
            "code": {"type": "string", "description": "One word, such as not_found."},
            "position": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 2,
                "maxItems": 2,
                "description": "Where the word begins in the query, and where it ends.",
            },
        },
        "required": ["code", "detail"],
    },
    "FieldErrors": {
        "type": "object",
        "description": "What is wrong, by the name of the field; what is in none of "
        "them, under non_field_errors. In a list, the places take the names' place.",
        "additionalProperties": {"$ref": "#/components/schemas/FieldError"},
        "examples": [{"limit": ["This is a number from 1 to 100."]}],
    },
    "FieldError": {
        "anyOf": [
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {
                "type": "array",
                "items": {"$ref": "#/components/schemas/FieldErrors"},
                "minItems": 1,
            },
            {"$ref": "#/components/schemas/FieldErrors"},
        ]
    },
}

ERROR_RESPONSE: Shape = {"$ref": "#/components/schemas/Refusal"}
EITHER: Shape = {
    "anyOf": [ERROR_RESPONSE, {"$ref": "#/components/schemas/FieldErrors"}]
}
RETRY_AFTER: Shape = {
    "Retry-After": {
        "description": "In how many seconds to ask again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
HOW_TO_SIGN_IN: Shape = {
    "WWW-Authenticate": {
        "description": "The way to sign in.",
        "required": True,
        "schema": {"type": "string"},
    }
}


def _refusal(
    description: str, schema: Shape = ERROR_RESPONSE, headers: Shape | None = None
) -> Shape:
    told: Shape = {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
    return {**told, "headers": headers} if headers else told


# The name of each in the schema, and what stands there.
REFUSALS: dict[int, tuple[str, Shape]] = {
    400: ("BadRequest", _refusal("This cannot be answered as it stands.", EITHER)),
    401: (
        "NotSignedIn",
        _refusal(
            "The token is not valid, or nobody is signed in.", headers=HOW_TO_SIGN_IN
        ),
    ),
    403: ("NotAllowed", _refusal("Whoever is signed in may not do this.")),
    404: ("NotFound", _refusal("It is not there, or not for whoever asks.")),
    406: ("NotAcceptable", _refusal("No form that is accepted can be given.")),
    413: ("TooLarge", _refusal("The request, or a picture in it, is too large.")),
    415: (
        "UnknownType",
        _refusal("The body is not JSON, or a picture is none that can be read."),
    ),
    422: ("CannotFetch", _refusal("A picture's address does not give a picture.")),
    429: (
        "TooManyRequests",
        _refusal("That was asked for too often.", headers=RETRY_AFTER),
    ),
    503: (
        "Unavailable",
        _refusal(
            "The engine, the encoder or the database is away for now.",
            headers=RETRY_AFTER,
        ),
    ),
}
