"""A scripted LLM server, for tests and first tries: both APIs over real HTTP, deterministic in (prompt, seed), with
faults to switch on and a count of what was asked.

It answers the four LLM stages of recipe `selfcodealign` in the right form, for any Python function as a seed. It
understands nothing: tasks and programs are put together from parts (`tasks`), so that programs can be run and pass.
It can play other servers (`dialects`) and models that write something around their answers (`around`).
"""
