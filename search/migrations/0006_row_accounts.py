from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def count_rejected(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Fill in what earlier versions computed as the difference."""
    shards = apps.get_model("search", "Shard").objects
    shards.filter(rows_done__gt=F("rows_kept")).update(
        rows_rejected=F("rows_done") - F("rows_kept")
    )


class Migration(migrations.Migration):
    dependencies = [("search", "0005_words_indexed")]

    operations = [
        migrations.AddField(
            model_name="shard",
            name="rows_rejected",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="shard",
            name="notes",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="shard",
            name="has_text_vectors",
            field=models.BooleanField(default=True),
        ),
        migrations.AlterField(
            model_name="dataset",
            name="columns",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Which column of the source is what, where the names differ: "
                '{"url": "photo_image_url", "caption": "photo_description"}. Parquet '
                'files have "embedding" and perhaps "text_embedding"; without, '
                "captions cannot be searched.",
            ),
        ),
        migrations.RunPython(count_rejected, migrations.RunPython.noop),
    ]
