"""What locust's command line loads: `locust -f loadtests/locustfile.py --host http://localhost:8888`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# locust loads this file by path, so the repository is not yet on the import path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loadtests.users.catalog import CatalogUser
from loadtests.users.kv import KvUser
from loadtests.users.mixed import MixedUser
from loadtests.users.watching import GraphqlUser, SseUser, WebSocketUser

__all__ = ["CatalogUser", "GraphqlUser", "KvUser", "MixedUser", "SseUser", "WebSocketUser"]

match os.environ.get("KONSUL_LOAD_SHAPE"):
    case "steps":
        from loadtests.shapes.steps import Steps as Steps
    case "spike":
        from loadtests.shapes.spike import Spike as Spike
