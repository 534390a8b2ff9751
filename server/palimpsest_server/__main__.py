"""Run the command line, as `palimpsest` or `python -m palimpsest_server`; start the server without parsing."""

import gc
import io
import sys


def main() -> None:
    """Run the command that the process was started with."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        gc.disable()  # until the first message: see `gc_pauses`
    if arguments in (["serve"], ["serve", "--stdio"]):
        # There is nothing to parse, so `initialize` does not wait for the imports of `cli`.
        sys.exit(_serve())
    from palimpsest_server.cli import main as command

    _write_whatever_comes(sys.stdout)
    command()


def _write_whatever_comes(stream: object) -> None:
    """Escape what the output's encoding lacks: that of a pipe on Windows has few characters, and no name may be an error."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _serve() -> int:
    from palimpsest_engine import open_engine
    from palimpsest_server import app
    from palimpsest_server.status import log

    try:
        log.set_up()
        return app.serve(open_engine)
    except (Exception, KeyboardInterrupt) as error:
        from palimpsest_server.cli import verdict_on

        sentence, code = verdict_on(error)
        print(f"palimpsest: {sentence}", file=sys.stderr)
        return code


if __name__ == "__main__":
    main()
