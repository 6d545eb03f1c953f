"""Watch the fraud model: evidence, the cause it speaks for, and what is done about it."""
