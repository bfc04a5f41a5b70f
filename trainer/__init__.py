"""The trainer: a job over topic `examples`.

It decides when to train (`trigger`), names what is trained on (`snapshot`), trains in a process of its own (`job`,
`child`, `finetune`), publishes the checkpoint (`publish`, `models`), and measures models on benchmarks (`evaluate`).
"""
