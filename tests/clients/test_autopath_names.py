"""With `autopath @kubernetes`, resolvers find a name outside by one question, the first one of their search list.

Their search list has a node's domain as well, of which no question says anything: names in it take as many questions
as without. Not here: which names are walked (tests/unit/answer/test_autopath.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.conftest import corefile
from tests.clients.test_outside_names import SEARCHING, fresh
from tests.clients.test_real_resolvers import WEB_4, WEB_6
from tests.support.outsideworld import INTRANET, WWW_4, WWW_6
from tests.support.podhost import PodHost
from tests.support.podresolvers import NO_NAME, Question

ONE_QUESTION = {
    Question("A", "www.example.org"): [WWW_4],
    Question("AAAA", "www.example.org"): [WWW_6],
    Question("A", "alias.example.org"): [WWW_4],
    Question("A", "web"): [WEB_4],
    Question("AAAA", "inside"): [WEB_6],
    Question("A", "outside"): [WWW_4],
}
AS_MANY_AS_EVER = {
    Question("A", "intranet"): [INTRANET],
    Question("A", "nowhere.example.org"): [NO_NAME],
}


@pytest.fixture(scope="module", autouse=True)
def autopath(pod: PodHost) -> Iterator[None]:
    before = corefile()
    pod.reload(before.replace("    ready\n", "    ready\n    autopath @kubernetes\n", 1))
    yield
    pod.reload(before)


@pytest.mark.parametrize("resolver", SEARCHING, indirect=True)
@pytest.mark.parametrize("way", ["udp4", "udp6"])
def test_a_name_outside_is_found_by_one_question(pod: PodHost, resolver: str, way: str) -> None:
    questions = ONE_QUESTION | fresh(1)
    pod.packets()
    found = pod.ask(resolver, way, tuple(questions))
    assert found == questions
    assert pod.packets()[way] == len(questions)


@pytest.mark.parametrize("resolver", SEARCHING, indirect=True)
def test_what_it_does_not_shorten_is_found_all_the_same(pod: PodHost, resolver: str) -> None:
    pod.packets()
    assert pod.ask(resolver, "udp4", tuple(AS_MANY_AS_EVER)) == pod.right(resolver, AS_MANY_AS_EVER)
    assert pod.packets()["udp4"] <= 4 + 5
