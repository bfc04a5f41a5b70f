"""A worker is killed at any moment of a transaction while another takes its transactional id over and the group is
rebalanced: the stage commits again within the transaction's timeout, and nothing is lost or doubled."""

import asyncio
import json
from pathlib import Path

import pytest

from stream.kafka.owner import TRANSACTION_MS
from tests.brokers import MakeKafka
from tests.failures.commit_kills import figures, killed
from tests.failures.commit_moments import MOMENTS

SEED = 20_261_130


async def kill_all(own_kafka: MakeKafka, folder: Path, namespace: str, nodes: int, kills: int, lanes: int) -> None:
    kafka = await asyncio.to_thread(own_kafka, nodes)
    done, illegal = await killed(folder, kafka, namespace, kills, lanes, SEED)
    print(json.dumps({"benchmark": "kafka_commit_kills", **figures(done, illegal, nodes, SEED)}))
    assert len(done) == kills
    assert {kill.moment for kill in done} == set(MOMENTS)
    assert max(kill.resumed_s for kill in done) < TRANSACTION_MS / 1000


async def test_a_worker_killed_at_any_moment_of_a_transaction_leaves_no_stage_stuck(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    await kill_all(own_kafka, tmp_path, namespace, nodes=1, kills=len(MOMENTS), lanes=4)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("nodes", [1, 3])
async def test_a_hundred_workers_killed_in_transactions_leave_no_stage_stuck(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str, nodes: int
) -> None:
    await kill_all(own_kafka, tmp_path, namespace, nodes, kills=100, lanes=4)
