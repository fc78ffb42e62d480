"""Directory checkpoints, hub downloads and the published checkpoints' key map."""
