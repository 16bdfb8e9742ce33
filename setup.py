"""What pyproject.toml cannot say: nothing is taken over from an earlier build.

setuptools builds in the folder `build`, never empties it, and packs what it finds there: modules that have
been moved or deleted since would come back. So each build gets a new folder.
"""

from tempfile import TemporaryDirectory

from setuptools import setup

with TemporaryDirectory() as folder:
    setup(script_name="setup.py", options={"build": {"build_base": folder}})  # the name: it is no module
