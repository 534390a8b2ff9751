"""Let the servers of all editor windows use one engine, in a process of its own, over a socket of the user alone."""
