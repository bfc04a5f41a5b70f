"""Asking language models: what a stage sees (`request`), and the client over HTTP behind it."""
