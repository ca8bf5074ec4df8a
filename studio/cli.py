"""The `studio` command: everything the web page does, for people who automate.

With `--json`, one JSON object on stdout and nothing else. What went wrong is one sentence on stderr and a non-zero
exit.
"""

import argparse
import sys
from pathlib import Path

from studio.commands import forecast, serving, storing, training
from studio.commands.common import Call
from studio.core.errors import DiskFull, StudioError, is_disk_full


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.command(options) or 0)
    except StudioError as error:
        sys.exit(f"studio: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        if is_disk_full(error):
            sys.exit(f"studio: {DiskFull()}")
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="studio", description="Fine-tune a language model without writing code.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Call, words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=call)
        sub.add_argument("--home", type=Path, help="folder of everything the studio keeps (or STUDIO_HOME)")
        return sub

    for group in (serving, forecast, training, storing):
        group.add(command)
    return parser
