"""What the room shows to others, and that it stays pure and immutable."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import kdns.corefile
from kdns.corefile import Corefile, Position, ServerBlock, parse_corefile
from kdns.wire.name import ROOT

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VALUES = [
    value for value in vars(kdns.corefile).values() if isinstance(value, type) and dataclasses.is_dataclass(value)
]


def test_the_public_names_are_these() -> None:
    assert kdns.corefile.__all__ == sorted(kdns.corefile.__all__)
    functions = {"decode", "from_flags", "parse_corefile", "parse_selector", "print_corefile", "read_settings"}
    assert functions < set(kdns.corefile.__all__)
    assert all(hasattr(kdns.corefile, name) for name in kdns.corefile.__all__)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_have_slots_for_their_fields_and_no_dictionary(value: type[DataclassInstance]) -> None:
    fields = dataclasses.fields(value)
    slots = [name for name in dir(value) if type(vars(value).get(name)).__name__ == "member_descriptor"]
    assert sorted(slots) == sorted(field.name for field in fields)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ServerBlock)])
def test_no_field_of_a_block_can_be_changed(name: str) -> None:
    (block,) = parse_corefile("a").blocks
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(block, name, None)


def test_models_made_by_hand_need_no_positions() -> None:
    block = ServerBlock((ROOT,))
    assert block.position == Position()
    assert Corefile((block,)) == parse_corefile(".:53")


def test_importing_the_room_loads_no_server_and_no_network() -> None:
    heavy = "asyncio socket ssl msgspec dns dnslib kubernetes uvloop yaml kdns.server kdns.answer kdns.kube"
    program = f"import sys, kdns.corefile; print([n for n in {heavy.split()!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
