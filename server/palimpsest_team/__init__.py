"""Puts the engine on a team's GPU servers with Ray Serve; the routes and the protocols are those of `palimpsest_api`."""
