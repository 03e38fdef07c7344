from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("search", "0003_picks_and_safety")]

    operations = [
        migrations.AddField(
            model_name="reject",
            name="file",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.AlterField(
            model_name="dataset",
            name="kind",
            field=models.CharField(
                choices=[
                    ("laion", "LAION shards: embeddings and metadata"),
                    (
                        "images",
                        "Images: a list of their addresses, a folder, tar or Parquet "
                        "files",
                    ),
                    ("parquet", "Parquet files with embeddings"),
                ],
                default="laion",
                max_length=10,
            ),
        ),
    ]
