"""Configuration: every setting is declared once, as a field of a Settings class, and read from four places.

Precedence: flag, environment, TOML file (`--config` or KONSUL_CONFIG_FILE), default. A value that does not
parse stops the start. From `KONSUL_RAFT_SNAPSHOT_INTERVAL` follow the flag `--raft-snapshot-interval` and the
TOML key `raft_snapshot_interval`, which may also be written as `snapshot_interval` in a table `[raft]`.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar, dataclass_transform

from konsul.kernel.values import ValueKind

S = TypeVar("S", bound="Settings")
PREFIX: Final = "KONSUL_"
CONFIG_FILE: Final = "KONSUL_CONFIG_FILE"
_MARK: Final = "konsul"
_FILE_MAX_BYTES: Final = 1 << 20
_NO_ALIASES: Final[Mapping[str, str]] = {}


class ConfigError(Exception):
    """The configuration cannot be used; the text says which setting, its value and what was expected."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting."""

    env: str
    kind: ValueKind
    default: Any
    doc: str
    check: Callable[[Any], str | None] | None
    secret: bool

    @property
    def flag(self) -> str:
        """The command line flag."""
        return "--" + self.key.replace("_", "-")

    @property
    def key(self) -> str:
        """The flat TOML key."""
        return self.env.removeprefix(PREFIX).lower()

    @property
    def default_text(self) -> str:
        """The default as it would be written, empty for none."""
        return "" if self.default is None else self.kind.write(self.default)

    def read(self, text: str, source: str) -> Any:
        """The value of `text`. Raises ConfigError with the name, the value and what was expected."""
        shown = "(not shown)" if self.secret else repr(text)
        try:
            value = self.kind.read(text)
        except ValueError:
            raise ConfigError(f"{self.env} is {shown} ({source}): expected {self.kind.expected}") from None
        problem = self.check(value) if self.check else None
        if problem:
            raise ConfigError(f"{self.env} is {shown} ({source}): expected {problem}")
        return value


def setting(
    env: str,
    kind: ValueKind,
    *,
    default: Any,
    doc: str,
    check: Callable[[Any], str | None] | None = None,
    secret: bool = False,
) -> Any:
    """Declares a field. `check` returns what was expected if the value will not do, else None."""
    declaration = Declaration(env, kind, default, doc, check, secret)
    # Whoever prints the settings must not print a secret.
    return dataclasses.field(default=default, repr=not secret, metadata={_MARK: declaration})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
class Settings:
    """A group of settings; its subclasses become frozen keyword-only dataclasses."""

    declarations: ClassVar[Mapping[str, Declaration]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True, kw_only=True)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        cls.declarations = {field.name: field.metadata[_MARK] for field in fields}

    def problem(self) -> str | None:
        """What is wrong with the settings together, or None. For rules over several of them."""
        return None


def at_least(minimum: float, text: str | None = None) -> Callable[[Any], str | None]:
    """A check for `value >= minimum`; `text` writes the minimum with its unit."""
    return lambda value: None if value >= minimum else f"at least {text or minimum}"


def between(low: float, high: float, text: str | None = None) -> Callable[[Any], str | None]:
    """A check for `low <= value <= high`; `text` writes the range with its unit."""
    return lambda value: None if low <= value <= high else text or f"{low} to {high}"


class Config:
    """Every setting of one node, by group, with where each value came from."""

    def __init__(
        self,
        groups: Iterable[Settings],
        *,
        notices: Sequence[str] = (),
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._groups: dict[type[Settings], Settings] = {type(group): group for group in groups}
        self.notices = tuple(notices)
        self.sources: Mapping[str, str] = dict(sources or {})

    def of(self, group: type[S]) -> S:
        """The group's values; its defaults if it was never loaded."""
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = group()
        assert isinstance(found, group)  # noqa: S101 - narrows for mypy
        return found


def declarations(groups: Iterable[type[Settings]]) -> dict[str, Declaration]:
    """Every declaration by environment name. Raises TypeError for a name declared twice."""
    found: dict[str, Declaration] = {}
    for group in groups:
        for declaration in group.declarations.values():
            if declaration.env in found:
                raise TypeError(f"{declaration.env} is declared twice")
            found[declaration.env] = declaration
    return found


def load(
    groups: Sequence[type[Settings]],
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    notice: Callable[[Mapping[str, str], Iterable[str]], Iterable[str]] | None = None,
    aliases: Mapping[str, str] = _NO_ALIASES,
) -> Config:
    """Reads every group. `flags` maps environment names to flag texts; `notice` judges the other variables.

    `aliases` maps old environment names to those they stand for, where those are not set.

    Raises ConfigError naming every setting that will not do.
    """
    flags = flags or {}
    known = declarations(groups)
    given = {new: environ[old] for old, new in aliases.items() if environ.get(old)}
    told, environ = environ, {**given, **{name: text for name, text in environ.items() if text}}
    path = flags.get(CONFIG_FILE) or environ.get(CONFIG_FILE) or ""
    filed = _read_file(path, known) if path else {}
    problems: list[str] = []
    values: list[Settings] = []
    sources: dict[str, str] = {}
    for group in groups:
        picked: dict[str, Any] = {}
        for name, declaration in group.declarations.items():
            text, source = _pick(declaration, flags, environ, filed, path)
            if text is None:
                continue
            try:
                picked[name] = declaration.read(text, source)
                sources[declaration.env] = source
            except ConfigError as error:
                problems.append(str(error))
        values.append(group(**picked))
        problem = values[-1].problem()
        if problem:
            problems.append(problem)
    if problems:
        raise ConfigError("; ".join(problems))
    return Config(values, notices=tuple(notice(told, known)) if notice else (), sources=sources)


def _pick(
    declaration: Declaration,
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    filed: Mapping[str, str],
    path: str,
) -> tuple[str | None, str]:
    # An empty text counts as unset, so that a compose file's `KONSUL_X=` keeps the default; a list of
    # blanks too.
    for text, source in (
        (flags.get(declaration.env), declaration.flag),
        (environ.get(declaration.env), "environment"),
        (filed.get(declaration.env), path),
    ):
        if text and not (declaration.kind.name == "list" and not text.strip(", \t")):
            return text, source
    return None, "default"


def _read_file(path: str, known: Mapping[str, Declaration]) -> dict[str, str]:
    """The file's settings as texts by environment name."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    if len(content) > _FILE_MAX_BYTES:
        raise ConfigError(f"the configuration file {path} is over {_FILE_MAX_BYTES} bytes")
    try:
        tree = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not TOML: {error}") from None
    found: dict[str, str] = {}
    for key, value in _flatten("", tree):
        env = PREFIX + key.upper()
        if env not in known:
            raise ConfigError(f"{path} sets {key}, which is not a setting of this server")
        if env in found:
            raise ConfigError(f"{path} sets {key} twice")
        found[env] = _as_text(path, key, value, secret=known[env].secret)
    return found


def _flatten(prefix: str, tree: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}_{name}" if prefix else name
        if isinstance(value, dict):
            yield from _flatten(key, value)
        else:
            yield key, value


def _as_text(path: str, key: str, value: object, *, secret: bool) -> str:
    """TOML's own numbers, booleans and lists stand for their text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    shown = "(not shown)" if secret else repr(value)
    raise ConfigError(f"{key} is {shown} ({path}): expected text, a number, a boolean or a list of texts")
