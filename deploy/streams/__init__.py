"""A stream that has begun: where it is, what it consists of, what became of its records; branching, pruning."""
