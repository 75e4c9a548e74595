"""Who asks, and what they may: bearer tokens, client certificates, and RBAC as far as errors tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.fakeapi.statuses import unauthorized

ANONYMOUS = "system:anonymous"
ADMIN = "kubernetes-admin"
ADMIN_TOKEN = "admin-token"
READ = ("get", "list", "watch")
_ALL = "*"


@dataclass(frozen=True)
class Grant:
    """Verbs on resources ("*" for all); in one namespace, or in all with ""."""

    resources: frozenset[str]
    verbs: frozenset[str]
    namespace: str = ""

    def covers(self, verb: str, resource: str, namespace: str) -> bool:
        return (
            bool({_ALL, resource} & self.resources)
            and bool({_ALL, verb} & self.verbs)
            and self.namespace in ("", namespace)
        )


@dataclass
class Access:
    """tokens: user by token. grants: by user."""

    tokens: dict[str, str] = field(default_factory=lambda: {ADMIN_TOKEN: ADMIN})
    grants: dict[str, list[Grant]] = field(
        default_factory=lambda: {ADMIN: [Grant(frozenset({_ALL}), frozenset({_ALL}))]}
    )

    def allow(self, user: str, *resources: str, verbs: tuple[str, ...] = READ, namespace: str = "") -> None:
        self.grants.setdefault(user, []).append(Grant(frozenset(resources), frozenset(verbs), namespace))

    def revoke(self, user: str) -> None:
        """Take all permissions of a user."""
        self.grants.pop(user, None)

    def user(self, authorization: str, certificate_name: str = "") -> str:
        """Whose request it is, by its Authorization header or client certificate. Raises StatusError (401)."""
        if not authorization:
            return certificate_name or ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or token not in self.tokens:
            raise unauthorized()
        return self.tokens[token]

    def allows(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        return any(grant.covers(verb, resource, namespace) for grant in self.grants.get(user, ()))
