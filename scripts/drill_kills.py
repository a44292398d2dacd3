"""Front of ``bundle.commands.drill_kills``: kill every stage at random moments."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("drill_kills", prog="python -m scripts.drill_kills"))
