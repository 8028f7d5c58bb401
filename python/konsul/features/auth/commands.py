"""Logging in and out, and the first key of a cluster."""

from __future__ import annotations

from konsul.errors import Invalid, KonsulError, RateLimited, Unauthenticated
from konsul.features.auth import bootstrap as first_key
from konsul.features.auth import logins
from konsul.features.auth.logins import Issued
from konsul.features.auth.node import auth_of
from konsul.features.auth.tables import ApiKeyRow
from konsul.kernel.command import command
from konsul.kernel.context import Context
from konsul.kernel.pipeline import AUTHENTICATED, PUBLIC


@command("auth.login", needs=PUBLIC, resource="user_id")
async def login(ctx: Context, *, user_id: str, password: str) -> Issued:
    """Logs a user in by password.

    Raises:
        Unauthenticated: no such user, a wrong password, or the user is disabled: one answer for all.
        RateLimited: too many attempts. Busy, NoLeader, Timeout, Stopping.
    """
    auth = auth_of(ctx.engine)
    counts = auth.counts
    try:
        auth.attempts.spend(ctx.client_addr, user_id)
    except RateLimited:
        counts.add(counts.logins, "limited")
        raise
    try:
        issued = await logins.begin(auth, ctx.engine, user_id, password, ctx.client_addr)
    except Unauthenticated:
        counts.add(counts.logins, "failed")
        raise
    except KonsulError:
        # Nobody has learned anything about the password.
        auth.attempts.succeeded(ctx.client_addr, user_id)
        counts.add(counts.logins, "error")
        raise
    auth.attempts.succeeded(ctx.client_addr, user_id)
    counts.add(counts.logins, "success")
    return issued


@command("auth.refresh", needs=PUBLIC, resource="user_id")
async def refresh(ctx: Context, *, user_id: str, refresh_token: str) -> Issued:  # noqa: ARG001
    """Exchanges a refresh token for new tokens; it is good once. `user_id`: whose it is, for the audit.

    Raises:
        Unauthenticated: it is not good, or was exchanged before: then its login is over. NoLeader, Timeout.
    """
    return await logins.refresh(auth_of(ctx.engine), ctx.engine, refresh_token)


@command("auth.logout", needs=AUTHENTICATED)
async def logout(ctx: Context) -> None:
    """Ends the login of the caller's token, with every token of it.

    Raises:
        Invalid: the caller has no login. Unauthenticated: there is no caller. NoLeader, Timeout.
    """
    who = ctx.identity
    if who.kind == "anonymous":
        raise Unauthenticated("missing authorization header")
    if not who.login_id:
        raise Invalid("no login: an API key is revoked, a certificate expires")
    await logins.end(auth_of(ctx.engine), ctx.engine, who.id, who.login_id)


@command("auth.bootstrap", needs=PUBLIC)
async def bootstrap(ctx: Context) -> first_key.FirstKey:
    """Makes the first key of the cluster, which may do everything. Once.

    Raises:
        Conflict: it was made before. NoLeader, Timeout.
    """
    auth = auth_of(ctx.engine)
    made = await first_key.bootstrap(ctx.engine, auth.settings)
    auth.forget(ApiKeyRow.table_id, made.key_id.encode())
    return made
