"""List a folder's images with ids, patients and splits; see ``bundle/commands/make_datalist.py``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("make_datalist", prog="python -m scripts.make_datalist"))
