"""What is to be done: recipe, config file and flags, put together, checked before anything starts, and built."""
