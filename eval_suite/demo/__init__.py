"""The demo world: drawn data in published layouts, for every task, from a seed."""
