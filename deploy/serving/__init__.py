"""Serving a model from a directory with vLLM, for as long as we want it and no longer."""
