from __future__ import annotations

import asyncio

import pytest
from serving import FakeModel, observation

from helmsight.deploy.batcher import Batcher
from helmsight.deploy.metrics import ServerMetrics
from helmsight.deploy.model import ModelError


def failures(*errors: Exception) -> list[str]:
    """What is answered to one request after the other, each of which the model fails in its way."""

    def fail(count: int) -> None:
        raise errors[count - 1]

    async def ask() -> list[str]:
        batcher, said = Batcher(FakeModel(fail), 4, 4), []
        running = asyncio.ensure_future(batcher.run(ServerMetrics(lambda: 0.0, lambda: 0.0)))
        for _ in errors:
            with pytest.raises(ModelError) as caught:
                await batcher.decide(observation())
            said.append(str(caught.value))
        running.cancel()
        return said

    return asyncio.run(ask())


def test_what_a_model_says_of_its_failure_is_answered_and_logged_without_a_trace(caplog):
    assert failures(ModelError("an empty instruction")) == ["an empty instruction"]
    (record,) = caplog.records
    assert record.exc_info is None and "an empty instruction" in record.getMessage()


def test_any_other_failure_is_logged_with_its_place(caplog):
    assert failures(KeyError("hidden")) == ["KeyError"]
    assert caplog.records[0].exc_info is not None


def test_the_same_failure_is_logged_once_and_answered_every_time(caplog):
    same = [KeyError("one") for _ in range(5)]
    assert len(failures(*same, KeyError("another"))) == 6
    assert len(caplog.records) == 2
