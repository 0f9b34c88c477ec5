"""Two gateways behind HAProxy and nginx, three engines and Redis, while one of each goes away; see topology.py."""

import pytest

from tests.deploy import topology


async def test_nothing_is_lost_while_an_engine_a_gateway_and_redis_go_and_come_back() -> None:
    if topology.missing():
        pytest.skip(f"not installed: {', '.join(topology.missing())}")
    found = await topology.run(seconds=12, callers=8)
    assert {name: count for name, count in found["failures"].items() if name.startswith("whole")} == {}
    assert found["answers"]["whole"] > 50
    assert found["granted_of_limit"] == pytest.approx(found["limit"], rel=0.05)
