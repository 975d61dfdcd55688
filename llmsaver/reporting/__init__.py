"""What people and machines read: the demo, the doctor."""
