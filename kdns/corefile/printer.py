"""The model as canonical Corefile text, what `--print-corefile` shows.

Rules: directives in the fixed order, ports always written out, only what differs from the default; what is printed
parses to the same model. One block of the text with keys on several ports is printed as one block for each port.
"""

from __future__ import annotations

from kdns.corefile.directives import print_directives
from kdns.corefile.model import Corefile, ServerBlock
from kdns.corefile.zones import zone_text


def print_corefile(corefile: Corefile) -> str:
    """The text of a configuration. Raises ValueError for a path that no Corefile can hold; parsed ones never do."""
    return "\n".join(_block_text(block) for block in corefile.blocks)


def _block_text(block: ServerBlock) -> str:
    keys = " ".join(f"{zone_text(zone)}:{block.port}" for zone in block.zones)
    lines = [f"{keys} {{", *(f"    {line}" for line in print_directives(block)), "}"]
    return "".join(f"{line}\n" for line in lines)
