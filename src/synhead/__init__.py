"""Synhead: animates one portrait photo with the motion of a driving video."""
