"""Named servers and credentials in one file, `~/.konsulctl.yaml` or the one KONSUL_CONFIG names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from konsul.cli.secret_files import replace_private
from konsul.errors import Invalid, NotFound

SECRETS = ("token", "api_key")
FIELDS = (
    "server",
    "token",
    "token_file",
    "api_key",
    "api_key_file",
    "ca_cert",
    "client_cert",
    "client_key",
    "tls_skip_verify",
    "timeout",
)


@dataclass(slots=True)
class Profiles:
    """The file's content. `current` is the profile in force when none is named; "" means none."""

    path: Path
    current: str = ""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def load(cls) -> Profiles:
        """Reads the file; an absent one is empty. Raises Invalid, naming the file, when it makes no sense."""
        path = location()
        try:
            source = path.read_bytes()
        except FileNotFoundError:
            return cls(path)
        except OSError as cause:
            raise Invalid(f"cannot read {path}: {cause.strerror}") from cause
        return cls._parse(path, source)

    @classmethod
    def _parse(cls, path: Path, source: bytes) -> Profiles:
        import yaml

        try:
            document = yaml.safe_load(source) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as cause:
            raise Invalid(f"{path} is not valid YAML: {cause}") from cause
        entries = document.get("profiles", {}) if isinstance(document, dict) else None
        if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
            raise Invalid(f"{path} must hold `current: NAME` and `profiles:` with a mapping for each name")
        for name, entry in entries.items():
            unknown = sorted(set(entry) - set(FIELDS))
            if unknown:
                raise Invalid(
                    f"{path}: profile {name!r} has unknown settings: {', '.join(map(str, unknown))}"
                )
        profiles = cls(path, str(document.get("current") or ""), {str(k): v for k, v in entries.items()})
        if _is_open(path) and any(entry.get(secret) for entry in entries.values() for secret in SECRETS):
            profiles.warnings.append(f"{path} holds secrets and others can read it; run: chmod 600 {path}")
        return profiles

    def chosen(self, name: str | None) -> dict[str, Any]:
        """The settings of the named profile, else of the current one, else none. Raises NotFound."""
        wanted = name or self.current
        if not wanted:
            return {}
        if wanted not in self.entries:
            raise NotFound(f"profile {wanted!r} is not in {self.path}")
        return self.entries[wanted]

    def save(self) -> None:
        """Writes the file whole or not at all, readable by its owner only. Raises Invalid when it cannot."""
        import yaml

        text = yaml.safe_dump({"current": self.current, "profiles": self.entries}, sort_keys=False)
        try:
            replace_private(self.path, text)
        except OSError as cause:
            raise Invalid(f"cannot write {self.path}: {cause.strerror}") from cause


def location() -> Path:
    """Where the file is."""
    return Path(os.environ.get("KONSUL_CONFIG") or Path.home() / ".konsulctl.yaml")


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
