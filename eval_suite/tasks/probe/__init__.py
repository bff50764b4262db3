"""Classifying frozen features: by their nearest neighbours, and by a linear layer."""
