"""``python -m scripts.benchmark_speed``: a front to the command ``coldstart benchmark_speed``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("benchmark_speed", prog="python -m scripts.benchmark_speed"))
