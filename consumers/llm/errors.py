"""Failures that only the LLM client knows. The others are `stream.errors`."""

from stream.errors import EndpointDown, Transient


class BadReply(Transient):
    """The server answered with an internal error, or with something that is no reply of its API."""


class Refused(EndpointDown):
    """The server is there and takes no more: 402, 429, 503 and their like."""
