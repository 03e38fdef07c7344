"""Error responses of the API, and their description in the OpenAPI document.

All have the body {"detail": sentence, "code": word}, but validation errors, which are
by field. That of an unreadable word also has its "position" in the query: [start, end].
"""

import logging
from typing import Any

from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
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
    BodyTooLarge,
    InvalidQuery,
    SearchError,
    SearchUnavailable,
    TooManyRequests,
    UnreadableWord,
    outage_of,
)

Shape = dict[str, Any]

NO_TOKEN = (
    "This requires an account: send a token in the header “Authorization: Token …”."
)

logger = logging.getLogger(__name__)


def api_exception_handler(
    error: Exception, context: dict[str, Any]
) -> HttpResponse | None:
    """Return the response to an exception in a view; None to have it raised again."""
    if isinstance(error, SearchUnavailable):
        logger.warning("%s", error.message, exc_info=error)
    elif outage := outage_of(error):
        logger.error("%s", outage.message, exc_info=error)
    if known := _as_search_error(error):
        return _response(known)
    response = exception_handler(error, context)
    if response is None:
        return None
    content = response.data
    if not isinstance(error, ValidationError):
        code = error.default_code if isinstance(error, APIException) else "not_found"
        if isinstance(error, ParseError):
            code = InvalidQuery.code
        detail = str(content["detail"])
        if isinstance(error, NotAuthenticated):
            detail = NO_TOKEN
        content = {"detail": detail, "code": code}
    return _json_response(content, response.status_code, dict(response.headers))


def _as_search_error(error: Exception) -> SearchError | None:
    if isinstance(error, SearchError):
        return error
    if outage := outage_of(error):
        return outage
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge("The request is larger than 16 MB.")
    if isinstance(error, TooManyFieldsSent):
        return InvalidQuery("The address has too many parameters.")
    # Django raises these for an unreadable body, and would respond in HTML.
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
        return InvalidQuery("The request cannot be read.")
    if isinstance(error, RecursionError):
        return InvalidQuery("The JSON is nested too deeply.")
    return None


def _response(error: SearchError) -> HttpResponse:
    content: Shape = {"detail": error.message, "code": error.code}
    if isinstance(error, UnreadableWord):
        content["position"] = [error.start, error.end]
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == status.HTTP_503_SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return _json_response(content, error.status, headers)


def _json_response(content: Any, code: int, headers: dict[str, str]) -> HttpResponse:
    headers = {**headers, "Content-Type": JSONRenderer.media_type}
    return HttpResponse(JSONRenderer().render(content), status=code, headers=headers)


# --- In the OpenAPI document

# Components of the kind “schemas”.
ERROR_SCHEMAS: dict[str, Shape] = {
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
ERROR_OR_FIELD_ERRORS: Shape = {
    "anyOf": [ERROR_RESPONSE, {"$ref": "#/components/schemas/FieldErrors"}]
}
RETRY_AFTER_HEADER: Shape = {
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
SIGN_IN_HEADER: Shape = {
    "WWW-Authenticate": {
        "description": "The way to sign in.",
        "required": True,
        "schema": {"type": "string"},
    }
}


def _error(
    description: str, schema: Shape = ERROR_RESPONSE, headers: Shape | None = None
) -> Shape:
    response: Shape = {
        "description": description,
        "content": {"application/json": {"schema": schema}},
    }
    return {**response, "headers": headers} if headers else response


# Components of the kind “responses”: the name and the content, by status.
ERROR_RESPONSES: dict[int, tuple[str, Shape]] = {
    400: ("BadRequest", _error("The request is invalid.", ERROR_OR_FIELD_ERRORS)),
    401: (
        "NotSignedIn",
        _error(
            "The token is not valid, or nobody is signed in.",
            headers=SIGN_IN_HEADER,
        ),
    ),
    403: ("NotAllowed", _error("The account may not do this.")),
    404: ("NotFound", _error("It does not exist, or the account may not see it.")),
    406: ("NotAcceptable", _error("None of the accepted media types is available.")),
    413: ("TooLarge", _error("The request, or an image in it, is too large.")),
    415: (
        "UnknownType",
        _error("The body is not JSON, or an image cannot be read."),
    ),
    422: ("CannotFetch", _error("A URL does not lead to an image.")),
    429: (
        "TooManyRequests",
        _error("There were too many requests.", headers=RETRY_AFTER_HEADER),
    ),
    503: (
        "Unavailable",
        _error(
            "The engine, the encoder or the database is unavailable for now.",
            headers=RETRY_AFTER_HEADER,
        ),
    ),
}
