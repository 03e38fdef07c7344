from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("search", "0006_row_accounts")]

    operations = [
        migrations.AddField(
            model_name="conversionfile",
            name="rows_rejected",
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
