"""The language server and the command line; imports the engine's public names only, never torch."""
