"""Run the ``lpsim`` command in this process."""

import json

from typer.testing import CliRunner

from lpsim.cli.app import app


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def run_json(*arguments):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(run(*arguments, "--json").stdout, parse_constant=refuse)


def complaint(*arguments):
    """Run bad input and return the one sentence that the command says."""
    output = run(*arguments, code=2).output
    assert output.startswith("lpsim: ")
    assert output.count("\n") == 1
    return output
