"""Backbones: what they are, where they come from, and how they lie on disk."""
