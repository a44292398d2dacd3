"""Front of ``bundle.commands.select_samples``: rank what to annotate first."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("select_samples", prog="python -m scripts.select_samples"))
