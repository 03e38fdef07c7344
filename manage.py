#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

from laionweb.version import describe

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "laionweb.settings")
    if sys.argv[1:] in (["version"], ["--version"]):
        # Django answers these with its own, before it looks for commands of apps.
        print(describe())
    else:
        execute_from_command_line(sys.argv)
