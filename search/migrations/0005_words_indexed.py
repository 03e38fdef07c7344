from django.db import migrations, models


def mark_tables_of_earlier_versions(apps, schema_editor):
    """Mark the datasets whose table may lack the words of captions."""
    begun = apps.get_model("search", "Shard").objects.filter(attempts__gt=0)
    datasets = apps.get_model("search", "Dataset").objects
    datasets.filter(pk__in=begun.values("dataset")).update(words_indexed=False)


class Migration(migrations.Migration):
    dependencies = [("search", "0004_reject_file")]

    operations = [
        migrations.AddField(
            model_name="dataset",
            name="words_indexed",
            field=models.BooleanField(default=True, editable=False),
        ),
        migrations.AddField(
            model_name="partition",
            name="reindex",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(
            mark_tables_of_earlier_versions, migrations.RunPython.noop
        ),
    ]
