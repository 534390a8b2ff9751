"""The canvas page: shows a fill at work in a browser on this machine, lets a user change it, and records it."""
