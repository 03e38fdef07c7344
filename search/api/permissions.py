"""What of the API is for staff, by the permissions that the admin pages go by."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

FOR_STAFF = "This is for staff who may {} datasets."
WANTED = {"POST": "add", "DELETE": "delete"}  # other methods change


def has_staff_permission(user: Any, do: str) -> bool:
    """Whether a user is of the staff and may "add", "change" or "delete" datasets."""
    return user.is_staff and user.has_perm(f"search.{do}_dataset")


class StaffWrites(BasePermission):
    """Reading is as free as the site; a dataset is changed by staff alone."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS:
            return True
        do = WANTED.get(request.method or "", "change")
        self.message = FOR_STAFF.format(do)
        return has_staff_permission(request.user, do)


class StaffOnly(BasePermission):
    """How datasets are brought in is watched and steered by staff alone."""

    message = FOR_STAFF.format("change")

    def has_permission(self, request: Request, view: Any) -> bool:
        return has_staff_permission(request.user, "change")
