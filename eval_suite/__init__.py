"""Train image backbones in different ways, and measure what the training did to them."""

__version__ = "0.1.0"
