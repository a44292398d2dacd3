"""Front of ``coldstart make_demo``: draw a demo data set with true masks."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("make_demo", prog="python -m scripts.make_demo"))
