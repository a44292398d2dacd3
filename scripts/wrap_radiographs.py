"""``python -m scripts.wrap_radiographs``: a front to the command ``coldstart wrap_radiographs``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("wrap_radiographs", prog="python -m scripts.wrap_radiographs"))
