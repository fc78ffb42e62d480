"""Animating a source with driving frames."""
