"""What the notes show to Prometheus."""

from __future__ import annotations

from konsul.features.notes.tables import Note  # type: ignore[import-not-found]
from konsul.kernel.metrics import EngineGauge, OperationCounter

METRICS = (
    OperationCounter(
        "konsul_notes_operations_total", "Notes by outcome.", {"notes.write": "write", "notes.like": "like"}
    ),
    EngineGauge("konsul_notes", "Notes stored.", lambda engine: engine.count(Note.table_id)),
)
