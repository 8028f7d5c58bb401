"""The auth feature, declared."""

from __future__ import annotations

from konsul.features.auth import tables
from konsul.features.auth.config import AuthSettings
from konsul.kernel.feature import Feature

feature = Feature(
    name="auth",
    tables=(
        tables.UserRow,
        tables.LoginRow,
        tables.ApiKeyRow,
        tables.ApiKeyUseRow,
        tables.AuthStateRow,
    ),
    config=AuthSettings,
)
