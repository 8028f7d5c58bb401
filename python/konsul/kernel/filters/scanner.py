"""The words of a filter, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from konsul.kernel.filters.problem import FilterError, shown

Kind: TypeAlias = Literal["word", "number", "string", "sign", "end"]
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_TOKEN: Final = re.compile(
    r"""(?P<word>[A-Za-z][A-Za-z0-9_/]*)
    |(?P<number>-?[0-9]+(?:\.[0-9]+)?)
    |(?P<sign>==|!=|[()\[\].])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPED: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_CODED: Final = {"x": 2, "u": 4, "U": 8}
_HEX: Final = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """One word. `text`: of a string what it holds. `is_joined`: nothing stands before it."""

    kind: Kind
    text: str
    at: int
    end: int
    is_joined: bool = False

    def found(self) -> str:
        """The token for the sentence "found ..."."""
        if self.kind == "end":
            return "the end"
        return f'"{shown(self.text)}"'


def scan(text: str, most: int) -> list[Token]:
    """The tokens of the text, `end` last.

    Raises:
        FilterError: a character that begins none, a string without its end, more than `most` of them.
    """
    tokens: list[Token] = []
    at = 0
    while True:
        space = _SPACE.match(text, at)
        start = space.end() if space else at
        if start == len(text):
            tokens.append(Token("end", "", start, start))
            return tokens
        if len(tokens) == most:
            raise FilterError(text, start, f"expected at most {most} words")
        token = _token(text, start, is_joined=space is None)
        tokens.append(token)
        at = token.end


def _token(text: str, at: int, *, is_joined: bool) -> Token:
    if text[at] in '"`':
        value, end = _raw(text, at) if text[at] == "`" else _quoted(text, at)
        return Token("string", value, at, end, is_joined)
    found = _TOKEN.match(text, at)
    if found is None:
        hint = ""
        if text[at] == "'":
            hint = ": strings stand in double quotes or backticks"
        elif text[at] == "-":
            hint = ': quote a value that holds it, and write a key as Meta["a-b"]'
        elif text[at] in "=!<>&|":
            hint = ": comparisons are == and !=, they are joined by and, or, not"
        raise FilterError(text, at, f'found "{shown(text[at])}"{hint}')
    kind: Kind = "word" if found["word"] else "number" if found["number"] else "sign"
    return Token(kind, found[0], at, found.end(), is_joined)


def _raw(text: str, at: int) -> tuple[str, int]:
    end = text.find("`", at + 1)
    if end < 0:
        raise FilterError(text, at, "this string has no end: expected `")
    return text[at + 1 : end], end + 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    pieces: list[str] = []
    place = at + 1
    while place < len(text):
        char = text[place]
        if char == '"':
            return "".join(pieces), place + 1
        if char == "\\":
            piece, place = _escape(text, place)
            pieces.append(piece)
        else:
            pieces.append(char)
            place += 1
    raise FilterError(text, at, 'this string has no end: expected "')


def _escape(text: str, at: int) -> tuple[str, int]:
    letter = text[at + 1 : at + 2]
    if letter in _ESCAPED:
        return _ESCAPED[letter], at + 2
    size = _CODED.get(letter)
    if size is not None:
        digits = text[at + 2 : at + 2 + size]
        code = int(digits, 16) if len(digits) == size and _HEX.fullmatch(digits) else -1
        # A half of a surrogate pair is no character: it could not be encoded.
        if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code), at + 2 + size
        raise FilterError(text, at, f"expected {size} hexadecimal digits of a character behind \\{letter}")
    hint = "a backslash stands doubled, and patterns are easier in backticks"
    raise FilterError(text, at, f'found the escape "\\{shown(letter)}": {hint}')
