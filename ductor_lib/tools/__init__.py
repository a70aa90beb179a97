"""What the agent can use from its shell: documents, sound, video, the time. Nothing here needs the running bot."""
