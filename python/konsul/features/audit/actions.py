"""What each verb is called in the audit log, and what kind of thing it touches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from konsul.kernel.command import VERBS

ACTIONS: Final[Mapping[str, tuple[str, str]]] = {
    # Keys and values
    "kv.get": ("kv.get", "kv"),
    "kv.get_json": ("kv.get", "kv"),
    "kv.rows": ("kv.get", "kv"),
    "kv.list": ("kv.list", "kv"),
    "kv.list_rows": ("kv.list", "kv"),
    "kv.page": ("kv.list", "kv"),
    "kv.count": ("kv.list", "kv"),
    "kv.set": ("kv.set", "kv"),
    "kv.delete": ("kv.delete", "kv"),
    "kv.delete_prefix": ("kv.delete", "kv"),
    "kv.delete_tree": ("kv.delete", "kv"),
    "kv.batch_get": ("batch.kv.get", "kv"),
    "kv.batch_set": ("batch.kv.set", "kv"),
    "kv.batch_set_cas": ("batch.kv.set", "kv"),
    "kv.batch_delete": ("batch.kv.delete", "kv"),
    "kv.batch_delete_cas": ("batch.kv.delete", "kv"),
    "kv.transaction": ("batch.kv.transaction", "kv"),
    "kv.acquire": ("kv.lock", "kv"),
    "kv.release": ("kv.unlock", "kv"),
    # Sessions
    "session.create": ("session.create", "session"),
    "session.renew": ("session.renew", "session"),
    "session.destroy": ("session.destroy", "session"),
    "session.get": ("session.get", "session"),
    "session.list": ("session.list", "session"),
    # Services
    "service.register": ("service.register", "service"),
    "service.deregister": ("service.deregister", "service"),
    "service.deregister_all": ("service.deregister", "service"),
    "service.maintenance": ("service.maintenance", "service"),
    "service.heartbeat": ("service.heartbeat", "service"),
    "service.get": ("service.get", "service"),
    "service.get_metadata": ("service.get", "service"),
    "service.instance": ("service.get", "service"),
    "service.instances": ("service.get", "service"),
    "service.instances_metadata": ("service.get", "service"),
    "service.instances_page": ("service.get", "service"),
    "service.rows": ("service.get", "service"),
    "service.list": ("service.list", "service"),
    "service.page": ("service.list", "service"),
    "service.query": ("service.list", "service"),
    "service.search": ("service.list", "service"),
    "service.count": ("service.list", "service"),
    "service.batch_get": ("batch.services.get", "service"),
    "service.batch_register": ("batch.services.register", "service"),
    "service.batch_deregister": ("batch.services.deregister", "service"),
    "service.dependencies": ("service.dependencies.get", "service"),
    "service.dependency_graph": ("service.dependencies.list", "service"),
    "service.impact": ("service.impact", "service"),
    "service.add_dependencies": ("service.dependencies.declare", "service"),
    "service.set_dependencies": ("service.dependencies.declare", "service"),
    "service.delete_dependencies": ("service.dependencies.delete", "service"),
    "lb.select": ("service.select", "service"),
    "lb.strategy": ("admin.lb.get", "admin"),
    "lb.set_strategy": ("admin.lb.strategy", "admin"),
    "lb.report": ("service.report", "service"),
    "lb.reports": ("service.report", "service"),
    "lb.loads": ("service.loads", "service"),
    "lb.rules.get": ("service.rules.get", "service"),
    "lb.rules.list": ("service.rules.list", "service"),
    "lb.rules.set": ("service.rules.update", "service"),
    "lb.rules.activate": ("service.rules.update", "service"),
    "lb.rules.delete": ("service.rules.delete", "service"),
    "lb.split.set": ("service.rules.update", "service"),
    "lb.split.delete": ("service.rules.delete", "service"),
    # Nodes
    "node.put": ("node.update", "node"),
    "node.delete": ("node.delete", "node"),
    "node.maintenance": ("node.maintenance", "node"),
    "node.get": ("node.get", "node"),
    "node.list": ("node.list", "node"),
    # Prepared queries
    "query.create": ("query.create", "query"),
    "query.update": ("query.update", "query"),
    "query.delete": ("query.delete", "query"),
    "query.list": ("query.list", "query"),
    "query.read": ("query.get", "query"),
    "query.explain": ("query.explain", "query"),
    "query.execute": ("query.execute", "query"),
    # The cluster
    "cluster.join": ("cluster.join", "cluster"),
    "cluster.leave": ("cluster.leave", "cluster"),
    "cluster.transfer_leader": ("cluster.transfer_leader", "cluster"),
    "cluster.snapshot": ("cluster.snapshot", "cluster"),
    "cluster.set_autopilot": ("cluster.autopilot.update", "cluster"),
    "cluster.autopilot": ("cluster.autopilot.get", "cluster"),
    "cluster.create_join_token": ("cluster.join_token.create", "cluster"),
    "cluster.revoke_join_token": ("cluster.join_token.revoke", "cluster"),
    "cluster.join_tokens": ("cluster.join_token.list", "cluster"),
    "cluster.status": ("cluster.status", "cluster"),
    "cluster.leader": ("cluster.leader", "cluster"),
    "cluster.peers": ("cluster.peers", "cluster"),
    "cluster.stats": ("cluster.stats", "cluster"),
    "cluster.config": ("cluster.config", "cluster"),
    "cluster.health": ("cluster.health", "cluster"),
    "cluster.digest": ("cluster.digest", "cluster"),
    # Identities and policies
    "auth.login": ("auth.login", "auth"),
    "auth.refresh": ("auth.refresh", "auth"),
    "auth.logout": ("auth.logout", "auth"),
    "auth.verify": ("auth.verify", "auth"),
    "auth.jwks": ("auth.jwks", "auth"),
    "auth.bootstrap": ("auth.bootstrap", "auth"),
    "auth.user.create": ("auth.user.create", "auth"),
    "auth.user.list": ("auth.user.list", "auth"),
    "auth.user.read": ("auth.user.read", "auth"),
    "auth.user.update": ("auth.user.update", "auth"),
    "auth.user.delete": ("auth.user.delete", "auth"),
    "auth.user.set_password": ("auth.user.set_password", "auth"),
    "auth.user.change_password": ("auth.user.change_password", "auth"),
    "auth.apikey.create": ("auth.apikey.create", "auth"),
    "auth.apikey.list": ("auth.apikey.list", "auth"),
    "auth.apikey.read": ("auth.apikey.read", "auth"),
    "auth.apikey.update": ("auth.apikey.update", "auth"),
    "auth.apikey.revoke": ("auth.apikey.revoke", "auth"),
    "auth.apikey.enable": ("auth.apikey.enable", "auth"),
    "auth.apikey.delete": ("auth.apikey.delete", "auth"),
    "acl.policy.create": ("acl.policy.create", "acl"),
    "acl.policy.update": ("acl.policy.update", "acl"),
    "acl.policy.delete": ("acl.policy.delete", "acl"),
    "acl.policy.list": ("acl.policy.list", "acl"),
    "acl.policy.read": ("acl.policy.read", "acl"),
    "acl.test": ("acl.test", "acl"),
    "acl.validate": ("acl.validate", "acl"),
    "acl.explain": ("acl.explain", "acl"),
    "acl.explain_own": ("acl.explain", "acl"),
    # Rate limits
    "admin.ratelimit.update": ("admin.ratelimit.update", "admin"),
    "admin.ratelimit.adjust": ("admin.ratelimit.adjust", "admin"),
    "admin.ratelimit.unadjust": ("admin.ratelimit.unadjust", "admin"),
    "admin.ratelimit.unset": ("admin.ratelimit.unset", "admin"),
    "admin.ratelimit.list_add": ("admin.ratelimit.list_add", "admin"),
    "admin.ratelimit.list_remove": ("admin.ratelimit.list_remove", "admin"),
    "admin.ratelimit.reset": ("admin.ratelimit.reset", "admin"),
    "admin.ratelimit.reset_all": ("admin.ratelimit.reset_all", "admin"),
    "admin.ratelimit.stats": ("admin.ratelimit.stats", "admin"),
    "admin.ratelimit.clients": ("admin.ratelimit.clients", "admin"),
    "admin.ratelimit.client": ("admin.ratelimit.client", "admin"),
    "admin.ratelimit.status": ("admin.ratelimit.status", "admin"),
    "admin.ratelimit.top": ("admin.ratelimit.top", "admin"),
    "admin.ratelimit.events": ("admin.ratelimit.events", "admin"),
    "admin.ratelimit.entries": ("admin.ratelimit.entries", "admin"),
    "admin.ratelimit.config": ("admin.ratelimit.get", "admin"),
    # The audit log itself
    "audit.events": ("audit.events.read", "audit"),
    "audit.stats": ("audit.stats.read", "audit"),
}
"""Verb -> (action, resource type). A contract test holds it to every verb there is."""

WATCHES: Final[Mapping[str, tuple[str, str]]] = {
    "kv.watch": ("kv.watch", "kv"),
    "service.watch": ("service.watch", "service"),
    "health.watch": ("health.watch", "health"),
    # A watch is named by what it needs; that of the cluster needs `admin:read`.
    "admin.watch": ("cluster.watch", "cluster"),
}
"""Watches are told at their opening, by names that are no verbs."""


def actions() -> dict[str, tuple[str, str, bool]]:
    """Verb -> (action, resource type, whether it changes something), for every verb declared so far."""
    found = {
        name: (*(ACTIONS.get(name) or (name, name.partition(".")[0])), verb.kind == "command")
        for name, verb in VERBS.items()
    }
    return found | {name: (*named, False) for name, named in WATCHES.items()}
