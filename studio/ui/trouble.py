"""At the edge between a click and the page: whatever goes wrong becomes a sentence, and the log keeps the rest."""

import logging

from studio.core.errors import DiskFull, StudioError, is_disk_full

log = logging.getLogger(__name__)


def in_words(error: Exception) -> StudioError:
    """What to tell the person who clicked; called while `error` is being handled, so that the log has its trace."""
    if isinstance(error, StudioError):
        return error
    if is_disk_full(error):
        return DiskFull()
    log.exception("a click failed")
    return StudioError(
        "Something unexpected went wrong. Nothing was lost.", "Try again; the web page's log has the details."
    )
