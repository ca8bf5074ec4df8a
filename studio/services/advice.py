"""What is known of a run that is yet to be started, for `core.presets` to advise on."""

from studio.core.errors import StudioError
from studio.core.mapping import Mapping
from studio.core.presets import Facts, task_of
from studio.services import base_models, lengths, readings
from studio.services.context import Studio
from studio.store import datasets


def of_upload(studio: Studio, base_id: str, rows: int, upload_id: str, mapping: Mapping | None = None) -> Facts:
    """`rows` that can be used, of an upload that is yet to become a data set."""
    try:
        shape = (mapping and mapping.shape) or readings.read(studio, upload_id)[0].mapping.shape
    except StudioError:
        shape = ""  # whoever shows the upload tells why it cannot be read
    return Facts(rows, base_models.parameters(studio, base_id), task_of(shape))


def of_dataset(studio: Studio, base_id: str, rows: int, dataset_id: int, version: int | None = None) -> Facts:
    """The same of a data set that is kept; its tokens too where they have been counted. Raises NotFound."""
    counted = lengths.lengths(studio, dataset_id, base_id, version, start=False).lengths
    known = counted if counted and counted.rows else None
    return Facts(
        rows,
        base_models.parameters(studio, base_id),
        task_of(datasets.get(studio.db, dataset_id).shape),
        tokens=known.total if known else None,
        longest=known.max if known else None,
    )
