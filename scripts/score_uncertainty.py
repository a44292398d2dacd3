"""``python -m scripts.score_uncertainty``: a front to the command ``coldstart score_uncertainty``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("score_uncertainty", prog="python -m scripts.score_uncertainty"))
