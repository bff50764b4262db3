"""Published data layouts, opened without decoding, and the batches made from them."""
