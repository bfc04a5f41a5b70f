from typing import Any

from aiokafka.protocol.metadata import MetadataRequest

class AIOKafkaConnection:
    async def send(self, request: MetadataRequest) -> Any: ...
    def close(self) -> Any: ...

async def create_conn(
    host: str, port: int, *, request_timeout_ms: int = ..., **connection: Any
) -> AIOKafkaConnection: ...
