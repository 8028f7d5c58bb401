"""`konsulctl auth`, `user` and `apikey`. Imports the client's side only."""

from __future__ import annotations

from konsul.features.auth.cli_auth import auth
from konsul.features.auth.cli_keys import apikey
from konsul.features.auth.cli_users import user

COMMANDS = (auth, user, apikey)
