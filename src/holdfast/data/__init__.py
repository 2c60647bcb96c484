"""Folders of images: scanning, splitting, decoding, augmenting."""
