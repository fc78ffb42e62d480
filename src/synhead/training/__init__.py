"""Pure steps, state and one linear loop."""
