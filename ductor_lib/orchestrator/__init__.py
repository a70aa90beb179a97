"""From a stored message to a finished turn: ledger, lanes, routing."""
