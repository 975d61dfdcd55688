"""What the caches know: keys, stores, the index of questions, and when a stored answer may be served."""
