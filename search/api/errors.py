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


def answer(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
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
