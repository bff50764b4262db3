"""Where things are in any network: stages, the last feature map, the layer that classifies."""
