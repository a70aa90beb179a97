"""What happens without a message: jobs on a schedule, hooks from outside, the heartbeat, retention."""
