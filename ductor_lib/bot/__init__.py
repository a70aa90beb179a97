"""The only folder that knows Telegram."""
