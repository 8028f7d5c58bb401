"""`konsulctl acl`: policies, and trying them. Imports the client's side only."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from konsul.cli import values
from konsul.cli.command import Group, doing
from konsul.cli.output import Table
from konsul.cli.secret_files import read_secret
from konsul.cli.values import meant, parted
from konsul.errors import Invalid
from konsul.features.acl import cli_views as views

acl = Group("acl", "Manage policies, and see what they decide and why.")
policy = Group("policy", "Policies: which rules there are.")
acl.add_typer(policy)
COMMANDS = (acl,)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the policy.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="JSON document, - for standard input.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]
ResourceType = Annotated[
    str, typer.Argument(metavar="RESOURCE", help="kv, service, health, backup, admin...")
]
Path = Annotated[str, typer.Argument(metavar="PATH", help="The key or name; any text where there is none.")]
Capability = Annotated[str, typer.Argument(metavar="CAPABILITY", help="read, write, list, delete, ...")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit code 1 when it is denied.")]
DENIED_EXIT = 1


@policy.action("list")
def list_policies(ctx: typer.Context) -> None:
    """List policies; those of a server's directory are marked."""
    with doing(ctx, "listing policies") as session:
        found = session.client.acl.policies()
        names = [name if source != "directory" else f"{name} (directory)" for name, source in found.items()]
        lines = [f"ACL Policies ({len(found)}):", *(f"  - {name}" for name in names)]
        text = "\n".join(lines) if found else "No policies found"
        document = [{"name": name, "source": source} for name, source in found.items()]
        session.out.show(document, text=text, table=Table(("name", "source"), list(found.items())))


@policy.action("get")
def get_policy(ctx: typer.Context, name: Name) -> None:
    """Show a policy's document."""
    with doing(ctx, "getting policy") as session:
        document = session.client.acl.policy(name)
        session.out.show(document, text=json.dumps(document, indent=2, ensure_ascii=False))


@policy.action("create")
def create_policy(ctx: typer.Context, file: File) -> None:
    """Store a new policy from a file."""
    with doing(ctx, "creating policy") as session:
        document = session.client.acl.create_policy(_object(file))
        session.out.done(f"Policy created successfully: {document['name']}", document)


@policy.action("update")
def update_policy(ctx: typer.Context, file: File) -> None:
    """Replace the policy that a file names; holds at once."""
    with doing(ctx, "updating policy") as session:
        given = _object(file)
        if not given.get("name"):
            raise Invalid(f"{file} names no policy: name is required")
        document = session.client.acl.update_policy(given)
        session.out.done(f"Policy updated successfully: {document['name']}", document)


@policy.action("delete")
def delete_policy(ctx: typer.Context, name: Name, yes: Yes = False) -> None:
    """Remove a policy; whoever has it is without it at once."""
    with doing(ctx, "deleting policy") as session:
        if not (yes or meant(f"Are you sure you want to delete policy '{name}'?")):
            session.out.done("Deletion canceled", {"policy": name, "deleted": False})
            return
        document = session.client.acl.delete_policy(name)
        session.out.done(f"Policy deleted successfully: {name}", document)


@policy.action("validate")
def validate_policy(ctx: typer.Context, file: File) -> None:
    """Check a document and name all that is wrong with it; exit code 2 then. Nothing is stored."""
    with doing(ctx, "validating policy") as session:
        found = session.client.acl.validate(_document(file))
        lines = [f"{file}: {views.problem(one)}" for one in found]
        rows = [[one.get("at", ""), one.get("problem", ""), one.get("value", "")] for one in found]
        session.out.show(
            {"valid": not found, "problems": list(found)},
            text="\n".join(lines) if found else f"{file} is a valid policy",
            table=Table(("at", "problem", "value"), rows),
        )
        if found:
            raise typer.Exit(Invalid.exit_status)


@acl.action("validate", hidden=True)
def validate(ctx: typer.Context, file: File) -> None:
    """The same as policy validate."""
    validate_policy(ctx, file)


@acl.action("test")
def try_(
    ctx: typer.Context,
    policies: Annotated[str, typer.Argument(metavar="POLICIES", help="Names with commas between.")],
    resource: ResourceType,
    path: Path,
    capability: Capability,
    exit_code: ExitCode = False,
) -> None:
    """Show what policies would decide together."""
    with doing(ctx, "testing policies") as session:
        names = parted([policies]) or []
        allowed = session.client.acl.test(names, resource, path, capability)
        document = {
            "allowed": allowed,
            "policies": names,
            "resource": resource,
            "path": path,
            "capability": capability,
        }
        verdict = session.out.mark(views.verdict(allowed), allowed)
        text = verdict if session.out.quiet else views.tried(names, resource, path, capability, verdict)
        session.out.show(document, text=text)
        if exit_code and not allowed:
            raise typer.Exit(DENIED_EXIT)


@acl.action("explain")
def explain(
    ctx: typer.Context,
    resource: ResourceType,
    path: Path,
    capability: Capability,
    user: Annotated[str | None, typer.Option("--user", metavar="USER-ID", help="For a user.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY-ID", help="For an API key, by its id.")
    ] = None,
    policies: Annotated[
        str | None, typer.Option("--policies", metavar="NAMES", help="For who would have these policies.")
    ] = None,
    document: Annotated[
        str | None, typer.Option("--document", metavar="FILE", help="For a policy that is stored nowhere.")
    ] = None,
    credential: Annotated[
        str | None,
        typer.Option("--credential-file", metavar="FILE", help="For who has the token or key in a file."),
    ] = None,
    exit_code: ExitCode = False,
) -> None:
    """Show which rule of which policy decides, and every other that matches; without a flag, for yourself."""
    with doing(ctx, "explaining") as session:
        if sum(one is not None for one in (user, key, policies, document, credential)) > 1:
            raise Invalid("give at most one of --user, --key, --policies, --document and --credential-file")
        found = session.client.acl.explain(
            resource,
            path,
            capability,
            token=None if credential is None else read_secret(credential, "credential"),
            api_key=key,
            user=user,
            policies=None if policies is None else parted([policies]),
            document=None if document is None else _object(document),
        )
        verdict = session.out.mark(views.verdict(found["allowed"]), found["allowed"])
        rules = session.out.aligned(views.rule_rows(found))
        text = verdict if session.out.quiet else views.explanation(found, verdict, rules)
        session.out.show(found, text=text, table=Table(views.COLUMNS, views.table_rows(found)))
        if exit_code and not found["allowed"]:
            raise typer.Exit(DENIED_EXIT)


def _document(path: str) -> Any:
    try:
        return json.loads(values.read(path))
    except (ValueError, RecursionError) as cause:
        raise Invalid(f"{path} is not valid JSON: {cause}") from cause


def _object(path: str) -> dict[str, Any]:
    document = _document(path)
    if not isinstance(document, dict):
        raise Invalid(f"{path} is no policy: expected a JSON object")
    return document
