"""Forms of collections and concepts. Their errors are sentences for the user."""

from typing import Any

from django import forms

from .models import Collection, CollectionItem, Concept


class _NameForm(forms.ModelForm):
    class Meta:
        fields = ("name", "description")
        error_messages = {
            "name": {"max_length": "Use up to 120 characters for the name."},
            "description": {
                "max_length": "Use up to 2,000 characters for the description."
            },
        }
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        noun = self._meta.model._meta.verbose_name
        self.fields["name"].error_messages["required"] = f"Give the {noun} a name."


class CollectionForm(_NameForm):
    class Meta(_NameForm.Meta):
        model = Collection


class ConceptForm(_NameForm):
    class Meta(_NameForm.Meta):
        model = Concept


class _VisibilityForm(forms.ModelForm):
    class Meta:
        fields = ("visibility",)
        widgets = {"visibility": forms.RadioSelect}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        noun = self._meta.model._meta.verbose_name
        self.fields["visibility"].error_messages |= dict.fromkeys(
            ("required", "invalid_choice"), f"Choose who can view the {noun}."
        )


class CollectionVisibilityForm(_VisibilityForm):
    class Meta(_VisibilityForm.Meta):
        model = Collection


class ConceptVisibilityForm(_VisibilityForm):
    class Meta(_VisibilityForm.Meta):
        model = Concept


class NoteForm(forms.ModelForm):
    class Meta:
        model = CollectionItem
        fields = ("note",)
        error_messages = {
            "note": {"max_length": "Use up to 2,000 characters for the note."}
        }
