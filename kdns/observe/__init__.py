"""What the operator sees: counters, logs."""
