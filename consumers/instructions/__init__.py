"""How a task is made: one file for each way, and the recipe names one. All write `instructions`."""
