"""What ``dual evaluate`` can judge: one module for each kind of result."""
