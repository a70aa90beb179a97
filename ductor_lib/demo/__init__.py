"""A loopback Telegram and a scripted agent: for trying ductor without accounts, and for the tests."""
