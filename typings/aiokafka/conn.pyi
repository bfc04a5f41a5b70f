from typing import Any

class AIOKafkaConnection:
    def close(self) -> Any: ...

async def create_conn(
    host: str, port: int, *, request_timeout_ms: int = ..., **connection: Any
) -> AIOKafkaConnection: ...
