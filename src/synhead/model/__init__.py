"""The paper's networks, one concept a file."""
