"""The setting of the notes."""

from __future__ import annotations

from konsul.kernel.config import Settings, between, setting
from konsul.kernel.values import INT


class NotesSettings(Settings):
    """Limits of the notes."""

    max_likes: int = setting(
        "KONSUL_NOTES_MAX_LIKES", INT, default=3, doc="Most likes of a note.", check=between(1, 100)
    )
