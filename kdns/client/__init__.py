"""The client library: resolve a service, balance over its pods, retry when one dies (docs/client.md).

Names are imported when they are first used, so that an app pays for what it uses. Importing this imports no server,
no Kubernetes client, no HTTP stack and no DNS library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdns.client.balancer import Balancer as Balancer
    from kdns.client.blocking_balancer import BlockingBalancer as BlockingBalancer
    from kdns.client.blocking_resolver import BlockingResolver as BlockingResolver
    from kdns.client.endpoint import Endpoint as Endpoint
    from kdns.client.endpoint import EndpointSet as EndpointSet
    from kdns.client.errors import Closed as Closed
    from kdns.client.errors import DeadlineExceeded as DeadlineExceeded
    from kdns.client.errors import NoEndpoints as NoEndpoints
    from kdns.client.errors import OptionError as OptionError
    from kdns.client.errors import Saturated as Saturated
    from kdns.client.errors import TargetError as TargetError
    from kdns.client.errors import TryTimeout as TryTimeout
    from kdns.client.hooks import Hooks as Hooks
    from kdns.client.lease import Lease as Lease
    from kdns.client.options import BalancerOptions as BalancerOptions
    from kdns.client.options import Budget as Budget
    from kdns.client.options import EwmaOptions as EwmaOptions
    from kdns.client.options import HashOptions as HashOptions
    from kdns.client.options import Hedge as Hedge
    from kdns.client.options import Outliers as Outliers
    from kdns.client.options import Policy as Policy
    from kdns.client.options import ResolverOptions as ResolverOptions
    from kdns.client.options import Retries as Retries
    from kdns.client.options import SlowStart as SlowStart
    from kdns.client.options import Subset as Subset
    from kdns.client.options import Throttle as Throttle
    from kdns.client.options import ZonePreference as ZonePreference
    from kdns.client.outcome import Outcome as Outcome
    from kdns.client.resolver import Resolver as Resolver
    from kdns.client.snapshot import Snapshot as Snapshot

_WHERE = {
    "balancer": "Balancer",
    "blocking_balancer": "BlockingBalancer",
    "blocking_resolver": "BlockingResolver",
    "endpoint": "Endpoint EndpointSet",
    "errors": "Closed DeadlineExceeded NoEndpoints OptionError Saturated TargetError TryTimeout",
    "hooks": "Hooks",
    "lease": "Lease",
    "options": (
        "BalancerOptions Budget EwmaOptions HashOptions Hedge Outliers Policy ResolverOptions Retries SlowStart Subset "
        "Throttle ZonePreference"
    ),
    "outcome": "Outcome",
    "resolver": "Resolver",
    "snapshot": "Snapshot",
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
