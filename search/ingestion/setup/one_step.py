"""Import a source in one step, as `make run FOLDER=/path` does."""

from collections.abc import Callable
from threading import Event

from tqdm import tqdm

from search.encoder import catalogue
from search.errors import SearchUnavailable
from search.ingestion import control
from search.ingestion.progress import ImportProgress
from search.ingestion.status import Phase, Remedy, Status, status_of
from search.models import Dataset

from . import creation
from .contents import Contents
from .model_choices import model_choices, try_model

DOWNLOAD_S = 1800.0
POLL_S = 0.5
KNOWS_POSTCARDS = (
    "There is no model for photographs on this machine, and none could be downloaded: "
    "{} The images are embedded by the example's model, which knows drawn postcards "
    "only: searches will find little. To use another model, delete the dataset on its "
    "page and start again."
)

Say = Callable[[str], object]


def import_source(source: str, say: Say, stopped: Event) -> Dataset | None:
    """Import a source and follow it to its end; return None if stopped meanwhile.

    What it does is said in sentences. A source that is a dataset already is looked
    through for new shards. Raises SearchError with a sentence.
    """
    dataset = Dataset.objects.filter(source=source).first()
    if dataset is None:
        dataset = _create(source, say)
    else:
        control.discover_shards(dataset)
        control.queue(dataset, dataset.shards.all())
    status = _follow(dataset, say, stopped)
    if status is None:
        return None
    say(_result(status))
    return dataset


def _create(source: str, say: Say) -> Dataset:
    # The operator has chosen these images, so they are not blurred.
    dataset = Dataset(source=source, safety=Dataset.Safety.SAFE)
    dataset.title = creation.title_of(source) or source
    dataset.slug = creation.free_slug(dataset.title)
    contents = creation.look(dataset, is_local=True)
    dataset.model, dataset.weights = _usable_model(contents, say)
    creation.check(dataset, contents, starts=True)
    say(f"Importing {contents.rows:,} images from {source} …")
    creation.create_and_start(dataset)
    return dataset


def _usable_model(contents: Contents, say: Say) -> tuple[str, str]:
    """Return a model that is here, or can be downloaded, or else the example's."""
    choices = model_choices(contents)
    *better, last = choices
    if not better or better[0].is_here or not catalogue.encodes_here():
        return choices[0].key
    first = better[0]
    say(f"Downloading the model {first.title}, {first.megabytes:,} MB …")
    model, weights = first.key
    try:
        try_model(Dataset(model=model, weights=weights), None, DOWNLOAD_S)
    except SearchUnavailable as error:
        say(KNOWS_POSTCARDS.format(error.message))
        return last.key
    return first.key


def _follow(dataset: Dataset, say: Say, stopped: Event) -> Status | None:
    """Show the progress until nothing moves any more; return None if stopped."""
    said = ""
    with tqdm(desc="Importing", unit=" images", disable=None) as bar:
        while True:
            progress = ImportProgress.of(dataset)
            status = status_of(dataset, progress)
            bar.total = progress.rows_expected
            bar.update(progress.rows_done - bar.n)
            if status.phase not in (Phase.RUNNING, Phase.BLOCKED):
                return status
            if status.phase == Phase.BLOCKED:
                if status.remedy != Remedy.WAIT:
                    return status
                if status.cause != said:
                    said = status.cause
                    say(said)
            if stopped.wait(POLL_S):
                return None


def _result(status: Status) -> str:
    if status.phase != Phase.DONE:
        return f"The import has stopped: {status.cause or status.phase.value}."
    took = f" in {status.seconds:,.0f} s" if status.seconds else ""
    plural = "" if status.rejected == 1 else "s"
    left_out = f"; {status.rejected:,} file{plural} left out" if status.rejected else ""
    return f"Done: {status.items:,} images{took}{left_out}."
