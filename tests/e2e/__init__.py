"""The whole bot with the real command lines of the agents, offline: the model behind them is a stand-in on this machine."""
