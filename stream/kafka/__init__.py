"""The bus on Apache Kafka: for several machines, and for streams that never end. `stream.kafka.bus.Kafka`.

Nothing is imported here: aiokafka takes a third of a second.
"""
