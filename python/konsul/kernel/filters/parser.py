"""Text to tree, by the grammar of go-bexpr (github.com/hashicorp/go-bexpr, grammar.peg), descending.

or      = and { "or" and }
and     = not { "and" not }
not     = "not" not | group
group   = "(" or ")" | match
match   = selector ( "==" | "!=" | ["not"] "contains" | ["not"] "matches" ) value
        | selector "is" ["not"] "empty"
        | value ["not"] "in" selector
selector = word { "." word | "." digits | "[" string "]" }
value   = selector | number | string
"""

from __future__ import annotations

from typing import Final

from konsul.kernel.filters.problem import FilterError
from konsul.kernel.filters.scanner import Token, scan
from konsul.kernel.filters.tree import And, Expression, Match, Not, Op, Or

TEXT_MAX_BYTES: Final = 2_048
DEPTH_MAX: Final = 32
TERMS_MAX: Final = 64
PATTERNS_MAX: Final = 8
"""`matches` per filter: each holds memory of its own."""
_WORDS_MAX: Final = 2_048
_OPERATORS: Final = "==, !=, in, contains, matches, is empty, or one of them with not"


def parse(text: str) -> Expression:
    """The expression that the text is.

    Raises:
        FilterError: it is none, or over a limit; names the place, what was found and what was expected.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise FilterError(text, error.start, "found half a character") from None
    if size > TEXT_MAX_BYTES:
        raise FilterError(text, 0, f"expected at most {TEXT_MAX_BYTES} bytes, found {size}")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = scan(text, _WORDS_MAX)
        self._at = 0
        self._depth = 0
        self._terms = 0
        self._patterns = 0

    def whole(self) -> Expression:
        found = self._or()
        token = self._next()
        if token.kind != "end":
            raise self._unexpected(token, "and, or, or the end")
        return found

    def _or(self) -> Expression:
        terms = [self._and()]
        while self._takes("or"):
            terms.append(self._and())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _and(self) -> Expression:
        terms = [self._not()]
        while self._takes("and"):
            terms.append(self._not())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _not(self) -> Expression:
        token = self._peek()
        if token.kind == "word" and token.text == "not":
            self._next()
            self._deeper(token)
            term = self._not()
            self._depth -= 1
            return Not(term)
        if token.kind == "sign" and token.text == "(":
            self._next()
            self._deeper(token)
            inner = self._or()
            closing = self._next()
            if closing.text != ")" or closing.kind != "sign":
                raise self._unexpected(closing, "and, or, or )")
            self._depth -= 1
            return inner
        return self._match()

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise FilterError(self._text, token.at, f"expected at most {DEPTH_MAX} groups in one another")

    def _match(self) -> Expression:
        token = self._peek()
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise FilterError(self._text, token.at, f"expected at most {TERMS_MAX} comparisons")
        if token.kind in ("string", "number"):
            self._next()
            return self._in(token.text, token)
        if token.kind != "word":
            raise self._unexpected(token, 'a selector such as Service, a value, not or "("')
        selector, end = self._selector()
        after = self._next()
        if after.kind == "sign" and after.text in ("==", "!="):
            return self._compared(token, selector, Op(after.text))
        if after.kind == "word":
            negated = after.text == "not"
            word = self._next() if negated else after
            if word.kind == "word" and word.text == "contains":
                return self._compared(token, selector, Op.NOT_IN if negated else Op.IN)
            if word.kind == "word" and word.text == "matches":
                self._count_pattern(word)
                return self._compared(token, selector, Op.NOT_MATCHES if negated else Op.MATCHES)
            if word.kind == "word" and word.text == "in":
                self._at -= 2 if negated else 1
                return self._in(self._text[token.at : end], token)
            if after.text == "is":
                return self._is(token, selector)
            if negated:
                raise self._unexpected(word, "in, contains or matches behind not")
        raise self._unexpected(after, _OPERATORS)

    def _count_pattern(self, token: Token) -> None:
        self._patterns += 1
        if self._patterns > PATTERNS_MAX:
            raise FilterError(self._text, token.at, f"expected at most {PATTERNS_MAX} patterns")

    def _is(self, start: Token, selector: tuple[str, ...]) -> Match:
        negated = self._takes("not")
        token = self._next()
        if token.kind != "word" or token.text != "empty":
            raise self._unexpected(token, "empty" if negated else "empty or not empty")
        return Match(selector, Op.NOT_EMPTY if negated else Op.EMPTY, at=start.at)

    def _in(self, value: str, start: Token) -> Match:
        negated = self._takes("not")
        token = self._next()
        if token.kind != "word" or token.text != "in":
            raise self._unexpected(token, "in" if negated else "in or not in, behind a value")
        first = self._peek()
        if first.kind != "word":
            raise self._unexpected(first, "a selector such as Tags")
        selector, _ = self._selector()
        return Match(selector, Op.NOT_IN if negated else Op.IN, value, first.at, start.at)

    def _compared(self, start: Token, selector: tuple[str, ...], op: Op) -> Match:
        token = self._peek()
        if token.kind in ("string", "number"):
            self._next()
            return Match(selector, op, token.text, start.at, token.at)
        if token.kind != "word":
            raise self._unexpected(token, "a value: a number, a word, or a text in quotes")
        _, end = self._selector()
        return Match(selector, op, self._text[token.at : end], start.at, token.at)

    def _selector(self) -> tuple[tuple[str, ...], int]:
        """The path that begins here, and where it ends in the text."""
        first = self._next()
        path = [first.text]
        end = first.end
        while self._peek().is_joined and self._peek().text in (".", "[") and self._peek().kind == "sign":
            if self._next().text == ".":
                part = self._next()
                is_name = part.kind == "word" or (part.kind == "number" and part.text.isdecimal())
                if not is_name or not part.is_joined:
                    raise self._unexpected(part, 'a name behind the dot; other keys as Meta["a-b"]')
                path.append(part.text)
                end = part.end
            else:
                part, closing = self._next(), self._next()
                if part.kind != "string":
                    raise self._unexpected(part, "a key in quotes")
                if closing.text != "]" or closing.kind != "sign":
                    raise self._unexpected(closing, "]")
                path.append(part.text)
                end = closing.end
        return tuple(path), end

    def _takes(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "word" and token.text == word:
            self._at += 1
            return True
        return False

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        # The end stays: whoever looks past it finds it again.
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _unexpected(self, token: Token, expected: str) -> FilterError:
        return FilterError(self._text, token.at, f"found {token.found()}, expected {expected}")
