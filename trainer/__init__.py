"""The trainer: a job over topic `examples`. It decides when to train (`trigger`), names what is trained on
(`snapshot`), trains in a process of its own (`finetune`), and publishes the checkpoint (`publish`, `models`)."""
