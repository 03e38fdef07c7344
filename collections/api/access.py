"""Who may read and who may write what belongs to a user."""

from typing import Any

from django.http import QueryDict
from rest_framework.permissions import IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.views import APIView

from ..account.middleware import SearchPermission

# Whoever came through a link has it from its owner, and not from a search engine.
NOT_INDEXED = {"X-Robots-Tag": "noindex, nofollow"}


class UserAccess(APIView):
    """What some may see beside its owner; changing it wants a user."""

    throttle_scope = "item"
    permission_classes = (SearchPermission, IsAuthenticatedOrReadOnly)

    def wants_user(self, request: Request) -> None:
        """Raises NotAuthenticated for a visitor who asks for what is theirs."""
        if not request.user.is_authenticated:
            self.permission_denied(request)


class OwnerAccess(APIView):
    """What its owner alone sees."""

    throttle_scope = "item"
    permission_classes = (IsAuthenticated,)


def parameters(request: Request) -> dict[str, Any]:
    """Those of the address; of one that is given twice, the last."""
    given: QueryDict = request.query_params
    return given.dict()
