"""Which datasets a user may see."""

from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from .registry import Dataset  # noqa: F401


class System(AnonymousUser):
    """The user of commands and workers, who sees all datasets."""

    is_staff = True  # type: ignore[assignment]  # the stubs want False


SYSTEM = System()
Viewer = User | AnonymousUser  # who a dataset is shown to


class DatasetQuerySet(models.QuerySet["Dataset"]):
    """Datasets, of which a user sees some.

    Everything that shows a dataset or its items asks `visible_to`; a dataset that a
    user may not see does not exist for that user.
    """

    def alive(self) -> Self:
        """Return the datasets that are not deleted: `Dataset.objects` has only these.

        Deleted ones are in `Dataset.everything`, under a slug that no address can have,
        until the sweeper drops them.
        """
        return self.filter(deleted_at=None)

    def visible_to(self, user: Viewer) -> Self:
        """Return the datasets that a user may see: staff all of them."""
        visibility = self.model.Visibility
        if user.is_staff:
            return self.all()
        allowed = Q(visibility=visibility.PUBLIC)
        if user.is_authenticated:
            chosen = self.model.objects.filter(
                Q(allowed_users=user) | Q(allowed_groups__user=user)
            )
            allowed |= Q(visibility=visibility.SIGNED_IN) | Q(
                visibility=visibility.CHOSEN, pk__in=chosen.values("pk")
            )
        return self.filter(allowed)

    def hidden_from(self, user: Viewer) -> "DatasetQuerySet":
        """Return the datasets that a user may not see, with those that are deleted."""
        visible = self.model.objects.visible_to(user).values("pk")
        return self.model.everything.exclude(pk__in=visible)

    def whole_ratings(self) -> dict[str, str]:
        """Return the ratings of the datasets that have one as a whole, by slug."""
        rated = self.exclude(safety=self.model.Safety.LABELLED)
        return {
            slug: self.model.RATINGS[safety]
            for slug, safety in rated.values_list("slug", "safety")
        }


class DatasetManager(models.Manager.from_queryset(DatasetQuerySet)):  # type: ignore[misc]
    """The datasets that are not deleted."""

    def get_queryset(self) -> DatasetQuerySet:
        return super().get_queryset().alive()
