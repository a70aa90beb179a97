"""Agents: command line programs driven over their pipes."""
