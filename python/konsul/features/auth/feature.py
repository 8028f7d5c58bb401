"""The auth feature, declared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from konsul.errors import Invalid, StartFailed
from konsul.features.auth import administration, bootstrap, commands, queries, routes, tables
from konsul.features.auth.config import AuthSettings
from konsul.features.auth.files import open_to_others
from konsul.features.auth.metrics import METRICS
from konsul.features.auth.node import Auth, keep
from konsul.features.auth.services import BootstrapFile, Guarding
from konsul.kernel.feature import Feature
from konsul.kernel.guard_settings import GuardSettings
from konsul.kernel.logging import logger
from konsul.kernel.tls_settings import TlsSettings

if TYPE_CHECKING:
    from konsul.kernel.node import Kernel


def install(kernel: Kernel) -> None:
    """While auth is on: credentials are checked, on every door.

    Raises:
        StartFailed: nothing signs tokens, or the bootstrap token cannot be used.
    """
    if not kernel.config.of(GuardSettings).auth_enabled:
        return
    try:
        tls = kernel.config.of(TlsSettings)
        auth = Auth(kernel, maps_certificates=tls.client_identity == "user")
        if auth.settings.bootstrap_token_file:
            bootstrap.read_token(auth.settings)
    except Invalid as error:
        raise StartFailed(str(error)) from None
    secret = [
        Path(name) for name in (auth.settings.jwt_secret_file, auth.settings.bootstrap_token_file) if name
    ]
    for name in open_to_others(*secret):
        logger().warning("every user of this machine may read a secret: make it mode 0600", file=name)
    keep(kernel.engine, auth)
    kernel.pipeline.identify = auth.identities.identify
    kernel.pipeline.renew = auth.identities.renew


routes.router.include_router(administration.router)

feature = Feature(
    name="auth",
    tables=(
        tables.UserRow,
        tables.LoginRow,
        tables.ApiKeyRow,
        tables.ApiKeyUseRow,
        tables.AuthStateRow,
    ),
    commands=(
        commands.login,
        commands.refresh,
        commands.logout,
        commands.bootstrap,
        *administration.COMMANDS,
    ),
    queries=(queries.verify, queries.jwks, *administration.QUERIES),
    router=routes.router,
    services=(Guarding, BootstrapFile),
    config=AuthSettings,
    metrics=METRICS,
    install=install,
)
