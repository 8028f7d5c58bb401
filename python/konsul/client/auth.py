"""`Client.auth`: identities, users and API keys. Semantics and errors stand at `auth_calls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from konsul.client import auth_calls
from konsul.client.auth_calls import NewApiKey, Tokens
from konsul.client.model import Document

if TYPE_CHECKING:
    from konsul.client.sync import Client


class Auth:
    """Logging in, and who may: `users` and `api_keys`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.users = Users(client)
        self.api_keys = ApiKeys(client)

    def login(self, user_id: str, password: str) -> Tokens:
        """Log in; Unauthenticated for a wrong name or password."""
        return self._client.call(auth_calls.login(user_id, password))

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token, which is good once; Unauthenticated for a spent one."""
        return self._client.call(auth_calls.refresh(refresh_token))

    def logout(self) -> Document:
        """End the login of the token in use."""
        return self._client.call(auth_calls.logout())

    def verify(self) -> Document:
        """Whose the credentials in use are, and until when they hold."""
        return self._client.call(auth_calls.verify())

    def bootstrap(self) -> Document:
        """Make the first API key, which may do everything, once per cluster; Conflict if it was made."""
        return self._client.call(auth_calls.bootstrap())

    def jwks(self) -> Document:
        """The public keys that tokens are signed with."""
        return self._client.call(auth_calls.jwks())


class Users:
    """Users: who may log in, with which roles and policies."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        user_id: str,
        *,
        password: str | None = None,
        username: str | None = None,
        roles: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
    ) -> Document:
        """Make a user; without a password nobody can log in as it. Conflict if there is one."""
        return self._client.call(auth_calls.create_user(user_id, password, username, roles, policies))

    def list(self) -> tuple[Document, ...]:
        """Every user, by id."""
        return self._client.flow(auth_calls.users())

    def get(self, user_id: str) -> Document:
        """One user; NotFound for none."""
        return self._client.call(auth_calls.user(user_id))

    def update(
        self,
        user_id: str,
        *,
        username: str | None = None,
        roles: Sequence[str] | None = None,
        policies: Sequence[str] | None = None,
    ) -> Document:
        """Change what is given; holds at once, also for tokens that are out."""
        return self._client.call(auth_calls.update_user(user_id, username, roles, policies))

    def set_password(self, user_id: str, password: str, *, old_password: str | None = None) -> Document:
        """Change a password, one's own with the old one; ends every login of the user."""
        return self._client.call(auth_calls.set_password(user_id, password, old_password))

    def disable(self, user_id: str) -> Document:
        """End a user's logins and let none in; Conflict for the last administrator."""
        return self._client.call(auth_calls.disable_user(user_id))

    def enable(self, user_id: str) -> Document:
        """Let a disabled user log in again."""
        return self._client.call(auth_calls.enable_user(user_id))

    def delete(self, user_id: str) -> Document:
        """Remove a user with all logins; Conflict for the last administrator."""
        return self._client.call(auth_calls.delete_user(user_id))


class ApiKeys:
    """API keys, for programs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        name: str,
        *,
        permissions: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_in_s: int | None = None,
    ) -> NewApiKey:
        """Make a key, which is shown this once. `permissions` name policies, `*` is everything."""
        return self._client.call(auth_calls.create_api_key(name, permissions, metadata, expires_in_s))

    def list(self) -> tuple[Document, ...]:
        """Every key, without its secret."""
        return self._client.flow(auth_calls.api_keys())

    def get(self, key_id: str) -> Document:
        """One key, without its secret; NotFound for none."""
        return self._client.call(auth_calls.api_key(key_id))

    def update(
        self,
        key_id: str,
        *,
        name: str | None = None,
        permissions: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Document:
        """Change what is given; holds at once, on every node."""
        return self._client.call(auth_calls.update_api_key(key_id, name, permissions, metadata))

    def revoke(self, key_id: str) -> Document:
        """Make a key useless until it is enabled again."""
        return self._client.call(auth_calls.revoke_api_key(key_id))

    def enable(self, key_id: str) -> Document:
        """Undo a revocation."""
        return self._client.call(auth_calls.enable_api_key(key_id))

    def delete(self, key_id: str) -> Document:
        """Remove a key."""
        return self._client.call(auth_calls.delete_api_key(key_id))
