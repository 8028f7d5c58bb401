"""The notes, declared."""

from __future__ import annotations

from konsul.features.notes import (  # type: ignore[import-not-found]
    commands,
    config,
    metrics,
    queries,
    routes,
    tables,
)
from konsul.kernel.feature import Feature

feature = Feature(
    name="notes",
    tables=(tables.Note,),
    commands=(commands.write, commands.like),
    queries=(queries.get, queries.by_author),
    router=routes.router,
    config=config.NotesSettings,
    metrics=metrics.METRICS,
)
