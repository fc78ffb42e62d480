"""The only room that prints or parses argv."""
