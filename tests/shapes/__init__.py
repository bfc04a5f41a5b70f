"""Replies and servers as they occur in public reports, and what is right for each: tables, one shape a row.

    answers     what models write around an answer, through the stage that asked
    replies     how servers put a reply, and errors inside a reply
    refusals    how servers refuse: too long, filtered, busy, or the form of the request
    questions   what `/models` and `/tokenize` answer

A `source` is where a shape was reported: an issue or a pull request as owner/name#number, where the owner is left out
for the best known servers. The shapes are ours. `tests/integration/test_shapes.py` serves each over HTTP.
"""
