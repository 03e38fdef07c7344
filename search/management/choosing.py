"""The shards that a command is for."""

import argparse


def add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shards", default="", metavar="0-9,12", help="only these; else all"
    )
