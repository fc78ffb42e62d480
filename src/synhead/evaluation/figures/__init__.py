"""Figures of what happens inside the model: drawn with numpy and Pillow from any checkpoint and clip."""
