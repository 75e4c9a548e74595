"""Applying a change to the engine in steps, so that queries are answered in between.

A step is one part of a parcel. What is built aside becomes visible at once, at the last step. Not here: when
the next step is taken (kdns.server.worker).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdns.answer.engine import ClusterSource, Engine
from kdns.server.feed import Change, MalformedMessage, Scope
from kdns.zone.delta import ZoneDelta

Steps = Iterator[None]


def load(engine: Engine, change: Change, parts: Iterator[ZoneDelta]) -> Steps:
    """The steps that make `change` visible. Whatever decoding the parts raises, nothing is visible then."""
    return _LOADERS[change.scope](engine, change, parts)


def _load_image(engine: Engine, change: Change, parts: Iterator[ZoneDelta]) -> Steps:
    image = engine.new_image(change.kept)
    for part in parts:
        image.apply(part)
        yield
    yield from engine.publish(image)


def _load_source(engine: Engine, change: Change, parts: Iterator[ZoneDelta]) -> Steps:
    source = engine.new_source(change.source)
    if isinstance(source, ClusterSource):
        raise MalformedMessage("a cluster as a source of its own: it changes by deltas and images")
    for part in parts:
        source.load(part)
        yield
    yield from engine.publish_source(change.source, source)


def _load_delta(engine: Engine, _: Change, parts: Iterator[ZoneDelta]) -> Steps:
    for part in list(parts):  # a single one; decoded whole before anything is changed
        yield from engine.apply_in_steps(part)


_LOADERS: dict[Scope, Callable[[Engine, Change, Iterator[ZoneDelta]], Steps]] = {
    Scope.IMAGE: _load_image,
    Scope.SOURCE: _load_source,
    Scope.DELTA: _load_delta,
}
