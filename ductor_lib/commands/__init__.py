"""What a person can ask the bot itself: one function and one row per command."""
