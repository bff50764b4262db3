"""Captioning: does a decoder find in the backbone's features what is to be said about a picture?"""
