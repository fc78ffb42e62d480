"""Detection, landmarks and crops behind one interface."""
