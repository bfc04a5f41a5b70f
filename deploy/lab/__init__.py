"""The lab model: a very small one, made from scratch on a CPU, that answers every prompt of recipe `lab` in its form.

It proves the chain on a laptop; it is no coder. `python -m deploy.lab make DIR` makes it: the tasks it can set and
solve (`operations`, `tasks`, `programs`), what it has read (`functions`, `concepts`, `corpus`), tokenizer and training,
a benchmark of tasks that it has never seen, and a card with its figures. `oracle` knows which answers are right.
"""
