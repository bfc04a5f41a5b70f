import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

class TransactionManager:
    transactional_id: str
    transaction_timeout_ms: int
    producer_id: int
    producer_epoch: int
    def wait_for_transaction_end(self) -> asyncio.Future[None] | None: ...

class Sender:
    sender_task: asyncio.Task[None] | None
    _txn_manager: TransactionManager
    _do_init_pid: Callable[[int], Awaitable[bool]]

class InitPIDHandler:
    _sender: Sender
    _default_backoff: float
    def __init__(self, sender: Sender) -> None: ...
    def create_request(self) -> Any: ...
    def handle_response(self, resp: Any) -> float | None: ...
    async def do(self, node_id: int) -> bool: ...
