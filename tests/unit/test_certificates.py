"""Renewed certificates are taken into use once, when all of them are there."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from structlog.testing import capture_logs

from konsul.engine import Engine, Options
from konsul.errors import Invalid
from konsul.features.cluster.certificates import Certificates
from konsul.features.cluster.cluster_log import ClusterLog


class Asked:
    """Counts how often it was told to read its certificates."""

    def __init__(self, folder: Path) -> None:
        for name in ("cert", "key", "ca"):
            (folder / name).write_text("first")
        self.times = 0
        self.is_good = True
        paths = {f"tls_{name}_file": str(folder / name) for name in ("cert", "key", "ca")}
        self.options = Options(data_dir="", **paths)  # type: ignore[arg-type]

    def reload_tls(self) -> None:
        self.times += 1
        if not self.is_good:
            raise Invalid("the key is another certificate's")


def test_a_change_counts_when_it_has_settled(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    watch = Certificates(cast(Engine, asked), ClusterLog("info"))
    watch.look()
    (tmp_path / "cert").write_text("second")
    watch.look()
    (tmp_path / "key").write_text("second")
    watch.look()
    assert asked.times == 0, "they still change"
    for _ in range(3):
        watch.look()
    assert asked.times == 1


def test_what_cannot_be_used_is_said_once(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.is_good = False
    watch = Certificates(cast(Engine, asked), ClusterLog("info"))
    (tmp_path / "key").unlink()
    with capture_logs() as said:
        for _ in range(4):
            watch.look()
    assert (asked.times, len(said)) == (1, 1)
    assert said[0]["log_level"] == "warning"
