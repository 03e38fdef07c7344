from django import forms

from search.errors import InvalidQuery

from ..models import Collection, CollectionItem


class CollectionForm(forms.ModelForm):
    """Its errors are sentences for the user."""

    class Meta:
        model = Collection
        fields = ("name", "description")
        error_messages = {
            "name": {
                "required": "Give the collection a name.",
                "max_length": "A name has up to 120 characters.",
            },
            "description": {"max_length": "A description has up to 2,000 characters."},
        }
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}


class NoteForm(forms.ModelForm):
    class Meta:
        model = CollectionItem
        fields = ("note",)
        error_messages = {"note": {"max_length": "A note has up to 2,000 characters."}}


class VisibilityForm(forms.ModelForm):
    class Meta:
        model = Collection
        fields = ("visibility",)
        error_messages = {
            "visibility": dict.fromkeys(
                ("required", "invalid_choice"), "Choose who may see the collection."
            )
        }
        widgets = {"visibility": forms.RadioSelect}


def check(form: forms.BaseForm) -> None:
    """Raises InvalidQuery with the first of the form's errors."""
    if not form.is_valid():
        raise InvalidQuery(str(next(iter(form.errors.values()))[0]))
