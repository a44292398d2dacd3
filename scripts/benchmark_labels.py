"""``python -m scripts.benchmark_labels``: a front to the command ``coldstart benchmark_labels``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("benchmark_labels", prog="python -m scripts.benchmark_labels"))
