"""``python -m scripts.package_bundle``: a front to the command ``coldstart package_bundle``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("package_bundle", prog="python -m scripts.package_bundle"))
