"""Permissions of the API for staff, the same as those of the admin pages."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

FOR_STAFF = "This is for staff who may {} datasets."
ACTIONS = {"POST": "add", "DELETE": "delete"}  # other methods change


def has_staff_permission(user: Any, action: str) -> bool:
    """Return whether a staff user may "add", "change" or "delete" datasets."""
    return user.is_staff and user.has_perm(f"search.{action}_dataset")


class StaffWrites(BasePermission):
    """Everyone who may use the site reads datasets; staff changes them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS:
            return True
        action = ACTIONS.get(request.method or "", "change")
        self.message = FOR_STAFF.format(action)
        return has_staff_permission(request.user, action)


class StaffAdds(BasePermission):
    """Allow only staff who may add datasets and import them."""

    message = FOR_STAFF.format("add and change")

    def has_permission(self, request: Request, view: Any) -> bool:
        actions = ("add", "change")
        return all(has_staff_permission(request.user, each) for each in actions)


class StaffOnly(BasePermission):
    """Allow only staff to control imports and see their progress."""

    message = FOR_STAFF.format("change")

    def has_permission(self, request: Request, view: Any) -> bool:
        return has_staff_permission(request.user, "change")


class StaffDeletes(BasePermission):
    """Allow only staff to see what a deletion takes, and to undo it."""

    message = FOR_STAFF.format("delete")

    def has_permission(self, request: Request, view: Any) -> bool:
        return has_staff_permission(request.user, "delete")
