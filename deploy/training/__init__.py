"""Training and evaluation, put together from the trainer, a stream and a server."""
