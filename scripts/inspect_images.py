"""Say what a folder of images holds; see ``bundle/commands/inspect_images.py``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("inspect_images", prog="python -m scripts.inspect_images"))
