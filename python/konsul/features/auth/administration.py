"""Administration of users and API keys, as the feature declares it."""

from __future__ import annotations

from typing import Final

from konsul.features.auth import apikeys, apikeys_routes, users, users_routes
from konsul.kernel.command import AnyVerb
from konsul.kernel.routing import Router

COMMANDS: Final[tuple[AnyVerb, ...]] = (
    users.create,
    users.update,
    users.delete,
    users.set_password,
    users.change_password,
    apikeys.create,
    apikeys.update,
    apikeys.revoke,
    apikeys.enable,
    apikeys.delete,
)
QUERIES: Final[tuple[AnyVerb, ...]] = (users.list_, users.read, apikeys.list_, apikeys.read)

router: Final = Router(tags=["auth"])
router.include_router(users_routes.router)
router.include_router(apikeys_routes.router)
