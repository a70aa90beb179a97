"""The words of the command line: one module per verb, with its arguments and what it does."""
