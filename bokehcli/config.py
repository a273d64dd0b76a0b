"""Options from a TOML file: one that is named, or the user's own. What is typed on the command line wins over both."""

import os
import tomllib
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

import typer

from bokehcli.command import EXCLUSIVE, contradiction
from bokehcli.errors import UsageError
from bokehcli.options import check_setting
from bokehcli.remote import URL

TABLE = "run"  # of the file: the command it is for
NOT_THERE = {"help", "help-all", "config"}  # options that make no sense in a file


def user_file() -> Path:
    """Where the user's own defaults lie, if there are any: in the folder that the system has for such files."""
    return Path(typer.get_app_dir("bokeh")) / "config.toml"


def use_config(context: typer.Context, named: Path | None) -> Path | None:
    """Have the command's options default to what a file says. The user's own file is not read when one is named.

    Raises UsageError, which names the file, for one that cannot be read or says what the command line could not.
    """
    file = named
    if named is None:
        file = user_file()
        if not os.path.isfile(file):
            return named
    assert file is not None
    if not context.resilient_parsing:  # as it is for the completion of half a command line
        context.default_map = {**(context.default_map or {}), **defaults_of(context, file)}
    return named


def defaults_of(context: typer.Context, file: Path) -> dict[str, Any]:
    """The options of a file, by the names of the command's parameters, each as the words that would be typed.

    Raises UsageError, which names the file.
    """
    defaults = dict(_defaults(context, file))
    for one, other in EXCLUSIVE:
        if defaults.get(one, False) is not False and defaults.get(other, False) is not False:
            raise UsageError(f"{file}: {contradiction(one, other)}")
    return defaults


def _defaults(context: typer.Context, file: Path) -> Iterator[tuple[str, Any]]:
    settings = _read(file)
    unknown = sorted(set(settings) - {TABLE})
    if unknown or not isinstance(settings.get(TABLE, {}), dict):
        raise UsageError(f"{file}: options go into a table [{TABLE}]" + (f", not {unknown[0]}" if unknown else ""))
    known: dict[str, Any] = {
        name.removeprefix("--"): parameter
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name.startswith("--")
    }
    for name, value in settings.get(TABLE, {}).items():
        parameter = known.get(name)
        if parameter is None or name in NOT_THERE:
            raise UsageError(f"{file}: {name}: there is no such option")
        default = _words(file, name, value, parameter)
        try:
            check_setting(parameter.name, parameter.process_value(context, default))
        except typer.BadParameter as error:
            raise UsageError(f"{file}: {name}: {error.message}") from error
        except UsageError as error:
            raise UsageError(f"{file}: {name}: {error}") from error
        assert parameter.name is not None
        yield parameter.name, default


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: no TOML file: {error}") from error


def _words(file: Path, name: str, value: Any, parameter: Any) -> Any:
    """A value of the file as it would be typed. Paths are from the file's folder, `~` is the user's."""
    if parameter.is_flag != isinstance(value, bool) or isinstance(value, dict | date | time):
        raise UsageError(f"{file}: {name}: must be {'true or false' if parameter.is_flag else 'a value'}")
    if isinstance(value, bool):
        return value
    if parameter.multiple:
        return [str(word) for word in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):  # a point
        return ",".join(map(str, value))
    if parameter.metavar in ("DIR", "FILE", "PATH") and value not in ("", "-") and not URL.match(str(value)):
        try:
            return str(file.parent / Path(str(value)).expanduser())
        except RuntimeError as error:  # pathlib's, where nobody is called so or has a home
            raise UsageError(f"{file}: {name}: {value}: there is no such home folder") from error
    return str(value)
