"""Collect a suite's records into one self-contained page and its tables; reads records only."""
