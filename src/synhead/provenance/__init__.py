"""Marking of every output as generated, in forms that machines read, and reading of such marks."""
