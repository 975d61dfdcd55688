"""One file per saving, each a thin layer of the stack."""
