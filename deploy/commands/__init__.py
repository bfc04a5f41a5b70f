"""The commands of `seedstream`, a file for each group. What they need is imported when they run."""
