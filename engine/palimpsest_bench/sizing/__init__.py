"""Says how many developers an engine can serve, by a simulation that runs on measured service times and typing sessions."""
