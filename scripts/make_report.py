"""Front of ``coldstart report``: ``python -m scripts.make_report --run DIR``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("report", prog="python -m scripts.make_report"))
