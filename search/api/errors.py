"""Every refusal as {"detail": sentence, "code": word}, with its status.

That of an unreadable word has its "position" in the query, too: [start, end].
"""

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from search.errors import (
    InvalidQuery,
    PictureTooLarge,
    SearchError,
    SearchUnavailable,
    TooManyRequests,
    UnreadableWord,
)

logger = logging.getLogger(__name__)


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, SearchError):
        if isinstance(error, SearchUnavailable):
            logger.warning("%s", error.message, exc_info=error)
        return _answer_to(error)
    if isinstance(error, RequestDataTooBig):
        return _answer_to(PictureTooLarge("The request is larger than 16 MB."))
    if isinstance(error, TooManyFieldsSent):
        return _answer_to(InvalidQuery("The address has too many parameters."))
    if isinstance(error, RecursionError):
        return _answer_to(InvalidQuery("The JSON is nested too deeply."))
    response = exception_handler(error, context)
    if response is None or isinstance(error, ValidationError):
        return response  # field errors keep REST framework's own form
    code = error.default_code if isinstance(error, APIException) else "not_found"
    if isinstance(error, ParseError):
        code = "bad_query"
    response.data = {"detail": str(response.data["detail"]), "code": code}
    return response


def _answer_to(error: SearchError) -> Response:
    told: dict[str, Any] = {"detail": error.message, "code": error.code}
    if isinstance(error, UnreadableWord):
        told["position"] = [error.start, error.end]
    response = Response(told, status=error.status)
    if isinstance(error, TooManyRequests):
        response["Retry-After"] = str(error.retry_after_s)
    if error.status == status.HTTP_503_SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(SearchUnavailable.retry_after_s)
    return response
