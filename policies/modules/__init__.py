"""Parts that policies are made of. They know nothing of each other."""
