"""Users, their logins, API keys: no secret is stored, only what recognises one."""

from __future__ import annotations

from typing import Final

from konsul.engine import Form
from konsul.kernel import entry
from konsul.kernel.schema import Row, expires, index, key, ref, table

LOGIN_SEPARATOR: Final = "/"
"""Between user and login in a login's key: no user id has it, so one prefix names all logins of a user."""
_KEY: Final = -1


def _goes(table_id: int) -> entry.Op:
    """The reaction of a row that goes with its parent; said by number, for its class is not there yet."""
    return (3, table_id, entry.SELF)


@table("users", id=5)
class UserRow(Row):
    """A user; the password by its argon2id hash in PHC form, empty: nobody can log in with one."""

    user_id: str = key()
    username: str = ""
    """What people call the user."""
    password_hash: str = ""
    roles: list[str] | None = None
    """`user` and `admin`."""
    policies: list[str] | None = None
    enabled: bool = True
    created_at_ms: int = 0
    updated_at_ms: int = 0


@table("logins", id=6)
class LoginRow(Row):
    """A login, `user id/login id`: its access tokens hold while the row is there, and one refresh token.

    It goes with its user, and when the user is disabled.
    """

    login: str = key()
    user_id: str | None = ref(UserRow, then=[_goes(6)], breaks_when=("enabled", False))
    refresh_digest: str = ""
    """SHA-256 in hex of the `jti` of the only refresh token that is not spent."""
    created_at_ms: int = 0
    refreshed_at_ms: int = 0
    expires_at_ms: int | None = expires()
    client_addr: str = ""
    """Where it was made from."""


@table("api_keys", id=7)
class ApiKeyRow(Row):
    """An API key by its SHA-256 in hex. One that is over stays until it is deleted, to be seen as such."""

    key_id: str = key()
    name: str = ""
    digest: str = index(unique=True)
    permissions: list[str] | None = None
    """Names of policies; `*`: everything, as an administrator."""
    metadata: dict[str, str] | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    expires_at_ms: int | None = None
    enabled: bool = True
    created_by: str = ""
    """The id of who made it."""


@table("api_key_uses", id=8)
class ApiKeyUseRow(Row):
    """When a key was last used, to the minute: beside the key, so that using one does not change it."""

    key_id: str = key()
    of: str | None = ref(ApiKeyRow, then=[_goes(8)])
    last_used_at_ms: int = 0


@table("auth_state", id=12)
class AuthStateRow(Row):
    """What happened once: `bootstrap` (value: the key's id), `bootstrap_file` (value: the token's digest)."""

    name: str = key()
    value: str = ""
    changed_at_ms: int = 0


def login_key(user_id: str, login_id: str) -> bytes:
    """The key of a login's row."""
    return f"{user_id}{LOGIN_SEPARATOR}{login_id}".encode()


def _form(row: type[Row], *, told: tuple[str, str, str, str, str]) -> Form:
    return Form(row.table_id, kinds=told, row=[("key", _KEY, 0)])


_ANY_CHANGE: Final = ("put", "put", "delete", "delete", "")
CHANGES: Final[tuple[tuple[type[Row], Form], ...]] = (
    (UserRow, _form(UserRow, told=_ANY_CHANGE)),
    (ApiKeyRow, _form(ApiKeyRow, told=_ANY_CHANGE)),
    # A refreshed login is the same login: only its end concerns whoever holds a token of it.
    (LoginRow, _form(LoginRow, told=("", "", "delete", "delete", ""))),
)
"""What a node watches so that nobody is known by what no longer holds."""
