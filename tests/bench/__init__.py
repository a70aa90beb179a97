"""What the bot costs, measured on a Telegram of this machine and a scripted agent: `python -m tests.bench`."""
