"""The training stage: recipe in, checkpoint out."""
