"""What people and machines read: the spend report, budgets, live calls, the demo, the doctor."""
