"""What ``synhead ablate`` is made of: the plan, the processes that carry it out, and the measurement of each run."""
