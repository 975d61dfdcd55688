"""What a prompt may lose, where it may be cached and how long its answer may be; no network and no layer here."""
