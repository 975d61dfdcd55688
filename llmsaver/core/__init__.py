"""The values that flow through a call and the fold they flow through; standard library only."""
