"""What an environment costs a month, told from its plan, a price table and written assumptions; and what spot is worth."""
