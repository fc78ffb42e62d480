"""Bricks that have never heard of faces."""
