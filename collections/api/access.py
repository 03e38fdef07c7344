"""Base views: who may read and who may change what belongs to a user."""

from rest_framework.permissions import IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.request import Request
from rest_framework.views import APIView

from ..account.middleware import SearchPermission

# Unlisted pages are reached by their link, not through a search engine.
NOT_INDEXED = {"X-Robots-Tag": "noindex, nofollow"}


class UserAccess(APIView):
    """Base of views that others may read; changing something needs a user."""

    throttle_scope = "item"
    permission_classes = (SearchPermission, IsAuthenticatedOrReadOnly)

    def wants_user(self, request: Request) -> None:
        """Raise NotAuthenticated for a visitor who lists their own."""
        if not request.user.is_authenticated:
            self.permission_denied(request)


class OwnerAccess(APIView):
    """Base of views for the owner only."""

    throttle_scope = "item"
    permission_classes = (IsAuthenticated,)
