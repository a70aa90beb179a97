"""The agent's world in the home: its rules, memory, skills and task folders."""
