"""The moments of a transaction at which a worker kills itself, and rings a bell just before, so that its test can do
something in the same millisecond."""

import json
import os
import signal
import socket
import time
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.producer import sender

HANDLERS: dict[str, Any] = {
    "AddPartitionsToTxn": sender.AddPartitionsToTxnHandler,
    "AddOffsetsToTxn": sender.AddOffsetsToTxnHandler,
    "TxnOffsetCommit": sender.TxnOffsetCommitHandler,
    "EndTxn": sender.EndTxnHandler,
}
"""The requests of a transaction in their order, and what aiokafka handles them with."""

MOMENTS = tuple(f"{request} {when}" for request in HANDLERS for when in ("unsent", "sent", "answered"))
"""`unsent`: nothing of the request has left the process; `sent`: all of it has, and no answer was read; `answered`: the
answer was read, and nothing was done about it."""


def die_in(moment: str, count: int, bell: int) -> None:
    """Die by SIGKILL at a moment when it comes for the `count`-th time; send a datagram to port `bell` before."""
    request, when = moment.split()
    handler = HANDLERS[request]
    create_request, handle_response, send = handler.create_request, handler.handle_response, AIOKafkaConnection.send
    left, doomed = count, ""

    def ring() -> None:
        told = {"moment": moment, "id": doomed, "at_s": time.time()}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.sendto(json.dumps(told).encode(), ("127.0.0.1", bell))

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def told_create(self: Any) -> Any:
        nonlocal left, doomed
        left -= 1
        created = create_request(self)
        if left == 0:
            doomed = self._sender._txn_manager.transactional_id
            if when == "unsent":
                ring()
                die()
        return created

    def told_send(self: Any, wanted: Any, expect_response: bool = True) -> Any:
        fatal = when == "sent" and doomed and type(wanted).__name__ == f"{request}Request"
        if fatal:
            ring()  # before: a rival that hears of it is on its way while this request is
        answer = send(self, wanted, expect_response)
        if fatal:
            die()
        return answer

    def told_response(self: Any, answer: Any) -> Any:
        if when == "answered" and doomed:
            ring()
            die()
        return handle_response(self, answer)

    handler.create_request = told_create
    handler.handle_response = told_response
    AIOKafkaConnection.send = told_send
