"""Weakly supervised object localisation: does the classifier look at the whole object?"""
