"""Forms of takedowns and removal lists."""

from typing import Any

from django import forms

from search.errors import check_form
from search.models import Dataset, Removal
from search.query.filters import LAST_ITEM

MAX_REASON_LENGTH = 200  # characters


class TakeDownForm(forms.Form):
    """An item to hide at once."""

    item = forms.IntegerField(
        min_value=0,
        max_value=LAST_ITEM,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"),
            "This is not an item ID.",
        ),
    )
    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        error_messages={"max_length": f"Say why in {MAX_REASON_LENGTH} characters."},
    )

    def check(self) -> None:
        """Raise InvalidQuery with the first error."""
        check_form(self)


class RemovalListForm(forms.Form):
    """A removal list: a file, or values in a text box."""

    kind = forms.ChoiceField(
        label="What the list has", choices=Removal.Kind.choices, initial="md5"
    )
    dataset = forms.ModelChoiceField(
        Dataset.objects.all(), required=False, empty_label="All datasets"
    )
    file = forms.FileField(
        required=False,
        help_text="One value a line; of a file named .csv the first column. It may be "
        "packed by gzip, and have 4 MB of values: longer ones are loaded by the "
        "command manage.py load_removals.",
    )
    values = forms.CharField(
        required=False,
        label="Or values",
        help_text="One a line.",
        widget=forms.Textarea(attrs={"rows": 6}),
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON_LENGTH)

    def clean(self) -> dict[str, Any]:
        super().clean()
        data = self.cleaned_data
        has_file, has_values = bool(data.get("file")), bool(data.get("values"))
        if "file" not in self.errors and has_file == has_values:
            raise forms.ValidationError("Choose a file or enter values: one of them.")
        if data.get("kind") == Removal.Kind.ITEM and not data.get("dataset"):
            self.add_error("dataset", "An item's number belongs to one dataset.")
        return data
