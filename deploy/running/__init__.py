"""Stages and sources at work in this process."""
