"""One module to a revision; what a released one does never changes."""
