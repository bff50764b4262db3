"""Detectors that a backbone is fine-tuned in, one file a family; each is found by its name."""
