"""Robustness: what is left of the accuracy when the images are perturbed, covered, mixed or corrupted?"""
