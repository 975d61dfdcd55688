"""The real SDKs with the stack beneath: beside testing/, the only folder that imports them or their HTTP library."""
