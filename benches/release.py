"""Konsul as it is shipped: optimised, not editable, in an environment of its own beside the developer's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benches.served import Served, answers, free_port

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
ENVIRONMENT = ".venv-release"
BUILD_MAX_S = 2_400


def python() -> str:
    """The interpreter of the release environment, which is brought up to date first.

    `KONSUL_BENCH_PYTHON` names another interpreter to measure, as it is.
    """
    given = os.environ.get("KONSUL_BENCH_PYTHON")
    if given:
        return given
    uv = shutil.which("uv") or str(ROOT / ".venv-tools" / "bin" / "uv")
    environ = os.environ | {"UV_PROJECT_ENVIRONMENT": ENVIRONMENT}
    environ.pop("VIRTUAL_ENV", None)
    command = [uv, "sync", "--quiet", "--no-editable", "--no-dev", "--inexact"]
    if subprocess.run(command, cwd=ROOT, env=environ, timeout=BUILD_MAX_S, check=False).returncode:
        sys.exit("the release build failed")
    return str(ROOT / ENVIRONMENT / "bin" / "python")


def konsul(interpreter: str, data_dir: Path, settings: dict[str, str] | None = None) -> tuple[Served, str]:
    """A durable server with every default in force, and its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {
        "KONSUL_PORT": str(port),
        "KONSUL_DATA_DIR": str(data_dir / "konsul"),
        "KONSUL_LOG_FORMAT": "json",
        **(settings or {}),
    }
    ready = answers(f"{url}/health/ready")
    return Served([interpreter, "-m", "konsul.server"], environ, data_dir / "konsul.log", ready), url
