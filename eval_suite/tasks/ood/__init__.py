"""Out-of-distribution detection: does the backbone know what it does not know?"""
