"""`konsulctl kv` and `konsulctl batch`. Imports the client's side only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsul.cli import values
from konsul.cli.command import Group, doing
from konsul.cli.options import Form
from konsul.cli.output import Table
from konsul.errors import Invalid
from konsul.features.kv import cli_watch

if TYPE_CHECKING:
    from konsul.cli.session import Session
    from konsul.client import KeyValue

kv = Group("kv", "Read and write keys.")
batch = Group("batch", "Read, write and delete many keys with few requests.")
COMMANDS = (kv, batch)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key; slashes are part of it.")]
Cas = Annotated[
    int | None,
    typer.Option("--cas", metavar="INDEX", min=0, help="Only at this modify index; 0: only if absent."),
]
File = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Read from FILE; - is standard input.")
]
COLUMNS = ("key", "value", "flags", "modify_index")


@kv.action("get")
def get(
    ctx: typer.Context,
    key: Key,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes alone, without a newline.")] = False,
    consistency: Annotated[
        str | None, typer.Option("--consistency", metavar="stale|default|linearizable", help="How fresh.")
    ] = None,
) -> None:
    """Print the value of KEY."""
    with doing(ctx, "getting key") as session:
        row = session.client.kv.get(key, consistency=consistency)
        if raw or session.out.form is Form.RAW:
            session.out.bytes(row.value)
        elif session.out.form is Form.TEXT:
            session.out.bytes(row.value + b"\n")
        else:
            session.out.show(document(row), text="", table=Table(COLUMNS, [cells(row)]))


@kv.action("set")
def set_(
    ctx: typer.Context,
    key: Key,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="The value; - is standard input, @FILE a file.")
    ] = None,
    file: File = None,
    cas: Cas = None,
    flags: Annotated[
        int | None, typer.Option("--flags", metavar="N", min=0, help="64 bits of yours.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="TIME", help="Delete it after this time.")
    ] = None,
) -> None:
    """Write VALUE to KEY."""
    with doing(ctx, "setting key") as session:
        content = values.value(value, file)
        written = session.client.kv.set(key, text_or_bytes(content), cas=cas, flags=flags, ttl=ttl)
        literal = file is None and value is not None and value != values.STDIN and not value.startswith("@")
        told = f"{key} = {value}" if literal else f"{key} ({len(content)} bytes)"
        session.out.done(f"Successfully set {told}", {"key": key, "modify_index": written.modify_index})


@kv.action("delete")
def delete(
    ctx: typer.Context,
    key: Key,
    cas: Cas = None,
    recurse: Annotated[bool, typer.Option("--recurse", help="Every key that starts with KEY.")] = False,
) -> None:
    """Delete KEY; an absent one is a success."""
    with doing(ctx, "deleting key") as session:
        if recurse and cas is not None:
            raise Invalid("--cas cannot be combined with --recurse")
        if recurse:
            session.client.kv.delete_prefix(key)
            session.out.done(f"Successfully deleted keys with prefix: {key}", {"prefix": key})
            return
        session.client.kv.delete(key, cas=cas)
        session.out.done(f"Successfully deleted key: {key}", {"key": key})


@kv.action("list")
def list_(
    ctx: typer.Context,
    start: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that start with it.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="PREFIX", help="The same as a flag.")] = "",
    recurse: Annotated[bool, typer.Option("--recurse", help="With values.")] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Names alone, one per line, without a heading.")
    ] = False,
    separator: Annotated[
        str | None, typer.Option("--separator", metavar="TEXT", help="Fold what follows it, like folders.")
    ] = None,
) -> None:
    """List keys in byte order."""
    with doing(ctx, "listing keys") as session:
        if recurse and (keys or separator):
            raise Invalid("--recurse cannot be combined with --keys or --separator")
        prefix = _one_prefix(start, prefix)
        if recurse:
            _show_rows(session, prefix)
            return
        names = session.client.kv.keys(prefix, separator=separator)
        bare = keys or session.out.quiet or session.out.form is Form.RAW
        if bare and session.out.form in (Form.TEXT, Form.RAW):
            session.out.lines(names)
        elif session.out.form is Form.TEXT:
            session.out.lines(_headed("Keys:", names, "No keys found"))
        else:
            found = list(names)
            session.out.show(found, text="", table=Table(("key",), [[name] for name in found]))


@kv.action("export")
def export(
    ctx: typer.Context,
    start: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only keys that start with it.")] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="PREFIX", help="The same as a flag.")] = "",
) -> None:
    """Write keys, values and flags to standard output, one JSON object per line; kv import reads it."""
    import json

    with doing(ctx, "exporting keys") as session:
        rows = session.client.kv.list(_one_prefix(start, prefix))
        session.out.lines(json.dumps(values.exported(row), ensure_ascii=False) for row in rows)


@kv.action("import")
def import_(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="[FILE]", help="What kv export wrote; - is standard input.")
    ] = "-",
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PREFIX", help="Put in front of every key.")
    ] = "",
) -> None:
    """Read keys from FILE: an export, a JSON or YAML mapping, or KEY=VALUE lines."""
    with doing(ctx, "importing keys") as session:
        items = [values.Item(prefix + one.key, one.value, one.flags) for one in values.items(source)]
        count = _write(session, items, "importing")
        session.out.done(f"Successfully imported {count} keys", {"count": count})


kv.action("watch")(cli_watch.watch)


@batch.action("get")
def batch_get(
    ctx: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="The keys.")] = None,
    file: File = None,
) -> None:
    """Print the values of many keys; exit code 3 when one is absent."""
    with doing(ctx, "getting keys") as session:
        wanted = values.names(keys or (), file)
        with session.out.progress("reading", len(wanted)) as advance:
            answer = session.client.kv.get_many(wanted, advance)
        found = {key: values.text_or_base64(value) for key, value in answer.found.items()}
        document = {"found": found, "not_found": list(answer.not_found)}
        rows = [(key, one["value"]) for key, one in found.items()]
        text = "\n".join(f"{key}={content}" for key, content in rows)
        session.out.show(document, text=text, table=Table(("key", "value"), rows))
        for key in answer.not_found:
            session.out.error("Error getting key:", f"{key}: key not found")
        if answer.not_found:
            raise typer.Exit(3)


@batch.action("set")
def batch_set(
    ctx: typer.Context,
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys and values.")
    ] = None,
    file: File = None,
) -> None:
    """Write many keys from arguments, or from a file in JSON, YAML or KEY=VALUE lines."""
    with doing(ctx, "setting keys") as session:
        if bool(pairs) == bool(file):
            raise Invalid("give KEY=VALUE arguments, or --file FILE (- is standard input)")
        items = values.items(file) if file else values.pairs(pairs or ())
        if not items:
            raise Invalid("there is nothing to set")
        count = _write(session, items, "writing")
        session.out.done(f"Successfully set {count} keys", {"count": count})


@batch.action("delete")
def batch_delete(
    ctx: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="The keys.")] = None,
    file: File = None,
) -> None:
    """Delete many keys; absent ones count as deleted."""
    with doing(ctx, "deleting keys") as session:
        wanted = values.names(keys or (), file)
        with session.out.progress("deleting", len(wanted)) as advance:
            answer = session.client.kv.delete_many(wanted, advance)
        session.out.done(f"Successfully deleted {answer.count} keys", {"count": answer.count})


def document(row: KeyValue) -> dict[str, Any]:
    """A stored key for json and yaml."""
    members: dict[str, Any] = {"key": row.key, **values.text_or_base64(row.value), "flags": row.flags}
    members |= {"create_index": row.create_index, "modify_index": row.modify_index}
    if row.expires_at:
        members["expires_at"] = row.expires_at.isoformat()
    return members


def cells(row: KeyValue) -> tuple[object, ...]:
    """A stored key as a table row."""
    return row.key, values.text_or_base64(row.value)["value"], row.flags, row.modify_index


def text_or_bytes(content: bytes) -> str | bytes:
    """Text goes as JSON, which every server of this API reads; only other bytes need the raw form."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _one_prefix(argument: str, flag: str) -> str:
    if argument and flag:
        raise Invalid("give the prefix as an argument or with --prefix, not both")
    return argument or flag


def _show_rows(session: Session, prefix: str) -> None:
    rows = session.client.kv.list(prefix)
    if session.out.form in (Form.TEXT, Form.RAW):
        bare = session.out.quiet or session.out.form is Form.RAW
        lines = (f"{row.key} = {values.text_or_base64(row.value)['value']}" for row in rows)
        session.out.lines(lines if bare else _headed("Keys:", lines, "No keys found"))
        return
    found = list(rows)
    table = Table(COLUMNS, [cells(row) for row in found])
    session.out.show([document(row) for row in found], text="", table=table)


def _headed(heading: str, lines: Iterator[str], nothing: str) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        yield nothing
        return
    yield heading
    yield f"  {first}"
    for line in lines:
        yield f"  {line}"


def _write(session: Session, items: list[values.Item], what: str) -> int:
    """Writes items: those with flags one by one, for the batch route keeps flags as they are; the rest in
    batches."""
    plain = [(one.key, one.value) for one in items if not one.flags]
    with session.out.progress(what, len(items)) as advance:
        count = session.client.kv.set_many(plain, advance).count
        for one in items:
            if one.flags:
                session.client.kv.set(one.key, text_or_bytes(one.value), flags=one.flags)
                advance(1)
                count += 1
    return count
