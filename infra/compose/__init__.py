"""What the containers run beside our own command, by the standard library."""
