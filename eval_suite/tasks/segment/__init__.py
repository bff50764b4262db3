"""A linear layer on a frozen feature map, which gives each pixel a class."""
