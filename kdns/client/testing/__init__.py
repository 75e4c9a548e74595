"""What an app needs to test how it behaves when pods come, go and fail: without DNS, without pods, without waiting.

- `FakeClock`: time that passes when a test says so, and an event loop in which nobody waits.
- `ScriptedResolver`, `BlockingScriptedResolver`: a target has the endpoints that the test says.
- `Faults`: endpoints that refuse, hang, fail or are slow, around the app's own function.
- `Simulation` (kdns.client.testing.simulation): a whole service under load, in fake time, over the production code.

Not here: real servers; for those point the resolver at `kdns serve`.
"""

from __future__ import annotations

from kdns.client.testing.clock import FakeClock
from kdns.client.testing.faults import Faults
from kdns.client.testing.scripted import BlockingScriptedResolver, ScriptedResolver

__all__ = ["BlockingScriptedResolver", "FakeClock", "Faults", "ScriptedResolver"]
