"""`python -m palimpsest_server`: the command line."""

from palimpsest_server.cli import main

if __name__ == "__main__":
    main()
