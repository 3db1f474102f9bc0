"""One module a command, thin: parse, call, report."""
