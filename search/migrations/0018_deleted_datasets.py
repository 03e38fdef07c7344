from django.db import migrations, models
from django.db.models import F


def name_tables(apps, schema_editor):
    apps.get_model("search", "Dataset").objects.update(table_slug=F("slug"))


class Migration(migrations.Migration):
    dependencies = [("search", "0017_say_image")]

    operations = [
        migrations.AddField(
            "dataset",
            "table_slug",
            models.CharField(
                blank=True, default="", editable=False, max_length=60
            ),
            preserve_default=False,
        ),
        migrations.RunPython(name_tables, migrations.RunPython.noop),
        migrations.AlterField(
            "dataset",
            "table_slug",
            models.CharField(blank=True, editable=False, max_length=60, unique=True),
        ),
        migrations.AddField(
            "dataset",
            "deleted_at",
            models.DateTimeField(db_index=True, editable=False, null=True),
        ),
        migrations.AddField(
            "dataset",
            "deleted_slug",
            models.CharField(
                blank=True, default="", editable=False, max_length=40
            ),
            preserve_default=False,
        ),
    ]
