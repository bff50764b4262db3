"""The published layouts of image sets, one file each."""
