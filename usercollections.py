"""The import name of the folder collections/.

A package named collections would shadow the standard library's module of that name.
So the folder has no __init__.py, and this module, whose __path__ makes it a package,
stands for it: usercollections.apps is collections/apps.py.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parent / "collections")]
