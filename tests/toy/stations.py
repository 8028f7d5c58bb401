"""`python -m tests.toy.stations DATA_DIR`: the toy in one process, its pipeline's slots filled.

A process of its own, because the toy's verbs would otherwise be declared in the process of every other
test. Prints what the slots saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx

from konsul.engine import Engine, Options
from konsul.errors import Forbidden
from konsul.kernel.pipeline import INSIDE, Identity, Pipeline
from tests.played_audit import PlayedAudit
from tests.toy.run import add_the_toy


class Slots:
    """Lets everyone do everything but touch what is called `secret`, and takes notes."""

    def __init__(self) -> None:
        self.authorised: list[tuple[str, str]] = []
        self.audit = PlayedAudit()

    def authorise(self, identity: Identity, needs: str, resource: str) -> str:
        """The authorise slot. What the node asks for itself is nobody's request."""
        if identity is not INSIDE:
            self.authorised.append((needs, resource))
        if resource == "secret":
            raise Forbidden(f"not for {identity.kind}")
        return ""


async def story(data_dir: str, slots: Slots) -> list[int]:
    """Five requests; their statuses."""
    add_the_toy()
    # After the word was added: these read the list when they are imported.
    from konsul.doors.http.admission import Admission
    from konsul.doors.http.app import create_app
    from konsul.doors.http.plain_front import PlainFront
    from konsul.features import FEATURES
    from konsul.kernel.config import Config
    from konsul.kernel.feature import load_all
    from konsul.kernel.node import Kernel

    engine = Engine(Options(data_dir=data_dir, backend="memory"))
    pipeline = Pipeline(authorise=slots.authorise, audit=slots.audit)
    kernel = Kernel(engine, Config(()), load_all(FEATURES), pipeline)
    await kernel.start()
    try:
        front = PlainFront(create_app(kernel), access_log="off", admission=Admission(kernel))
        transport = httpx.ASGITransport(front)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy") as http:
            body = {"author": "ann", "text": "t"}
            answers = [
                await http.put("/notes/open", json=body),
                await http.put("/notes/secret", json=body),
                await http.get("/notes/secret"),
                await http.get("/notes"),
                await http.post("/notes/none/likes"),
            ]
            return [answer.status_code for answer in answers]
    finally:
        await kernel.stop(1_000)


if __name__ == "__main__":
    slots = Slots()
    statuses = asyncio.run(story(sys.argv[1], slots))
    audited = [event[1:] for event in slots.audit.events]
    print(json.dumps({"statuses": statuses, "authorised": slots.authorised, "audited": audited}))
