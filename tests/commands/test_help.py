"""Help is there at once: no verb imports anything heavy before it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bundle.commands import VERBS, main

HEAVY = ("torch", "monai", "sklearn", "scipy", "matplotlib", "nibabel", "pydicom", "PIL")
SCRIPT = f"""
import contextlib, io, sys
from bundle.commands import main
shown = io.StringIO()
with contextlib.redirect_stdout(shown):
    try:
        main(sys.argv[1:])
    except SystemExit as done:
        assert done.code == 0
imported = [name for name in {HEAVY} if name in sys.modules]
assert not imported, f"imported {{imported}}"
print(shown.getvalue())
"""


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_s_help_has_examples_and_imports_nothing_heavy(verb):
    said = subprocess.run([sys.executable, "-c", SCRIPT, verb, "--help"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert f"coldstart {verb} " in said.stdout, "an example that can be copied"
    assert "usage:" in said.stdout and "--out" in said.stdout


def test_the_verbs_are_listed_without_importing_anything():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert all(verb in said.stdout for verb in VERBS)


def test_a_verb_may_be_written_with_dashes_and_an_unknown_one_is_told(capsys):
    with pytest.raises(SystemExit) as done:
        main(["make-datalist", "--help"])
    assert done.value.code == 0
    assert main(["segment"]) == 2
    assert "unknown verb 'segment'" in capsys.readouterr().err


def test_every_verb_has_a_front_in_scripts(repository):
    for verb in VERBS:
        names = {verb, f"make_{verb}"}  # `scripts.report` would hide the folder of reports
        assert any((repository / "scripts" / f"{name}.py").is_file() for name in names), verb


@pytest.mark.parametrize("words", [[], ["select_samples", "--strategy", "help"]])
def test_a_reader_that_goes_early_is_no_error(words):
    code = "import sys; from bundle.commands import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
