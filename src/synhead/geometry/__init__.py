"""Pure functions on coordinates, flows and heat maps; no parameters."""
