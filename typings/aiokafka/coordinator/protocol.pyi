from aiokafka.structs import TopicPartition

class ConsumerProtocolMemberAssignment:
    @classmethod
    def decode(cls, data: bytes) -> ConsumerProtocolMemberAssignment: ...
    def partitions(self) -> list[TopicPartition]: ...

class ConsumerProtocol:
    ASSIGNMENT: type[ConsumerProtocolMemberAssignment]
