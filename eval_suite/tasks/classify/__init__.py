"""Classification: does the backbone know what is in the image, and how well does it know that it knows?"""
