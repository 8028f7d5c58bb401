"""Wall clocks that jump: a few lines of C preloaded into a node, and a file that says by how much."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("wall_clock.c")
COMPILE_MAX_S = 60


class WallClock:
    """The wall clock of one node. Its settings are given to the node before it is launched."""

    def __init__(self, folder: Path, name: str) -> None:
        library = folder / "wall_clock.so"
        if not library.exists():
            command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)]
            subprocess.run([*command, "-ldl"], check=True, capture_output=True, timeout=COMPILE_MAX_S)
        self._offset = folder / f"{name}.wall-offset"
        self.settings = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET_FILE": str(self._offset)}
        self.jump(0)

    def jump(self, offset_s: int) -> None:
        """From now on the clock is off by `offset_s`, at once and in all threads."""
        mode = "r+b" if self._offset.exists() else "w+b"
        with self._offset.open(mode) as file:
            file.write(offset_s.to_bytes(8, "little", signed=True))
