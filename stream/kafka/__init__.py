"""The bus on Apache Kafka: for several machines, and for streams that never end.

Nothing is imported here: `stream.kafka.bus` loads aiokafka, and those alone wait for it who open such a bus.
"""
