"""Evidence, policy, actions and reports: what happened to the live model, and what is done about it."""
