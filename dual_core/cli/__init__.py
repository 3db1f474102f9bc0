"""The command line ``dual``: one thin module a command."""
