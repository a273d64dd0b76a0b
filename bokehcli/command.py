"""How the run command explains itself, on one screen, and which of its options wins where two contradict each other."""

from typing import Any

import typer
from typer.core import TyperCommand

from bokehcli.errors import UsageError
from bokehcli.listing import STDIN
from bokehcli.remote import Url

ALL = "bokehcli.help_all"  # key in a context: every option is to be shown
# What --help leaves to --help-all.
RARE = {
    *("null", "shard", "retry_failed", "no_ledger", "report", "save_maps", "blades", "cat_eye", "highlights", "grain"),
    *("min_subject", "min_clarity", "unsure", "strip_metadata", "strict", "threads", "scheduler", "max_megapixels"),
    *("time_limit", "model", "device", "verbose"),
}
NOT_PIPED = (
    *("files_from", "include", "exclude", "shard", "json", "dry_run", "save_maps", "report", "gallery", "preserve_times"),
    *("overwrite", "skip_existing", "watch", "scheduler"),
)
EXCLUSIVE = (
    *(("strength", "f_number"), ("overwrite", "skip_existing"), ("quiet", "verbose")),
    *(("gallery", "dry_run"), ("report", "dry_run"), ("watch", "dry_run"), ("watch", "files_from")),
)


class RunCommand(TyperCommand):
    """A command whose help has its options in groups, and whose command line wins over its configuration."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the groups, in the order of their first option."""
        everything = ctx.meta.get(ALL)
        groups: dict[str, list[tuple[str, str]]] = {}
        parameters: list[Any] = self.get_params(ctx)
        for parameter in parameters:
            if everything or parameter.name not in RARE:
                names, text = parameter.get_help_record(ctx)
                names = parameter.metavar if parameter.param_type_name == "argument" else names.partition(" / ")[0]
                group = getattr(parameter, "rich_help_panel", None) or "Running"
                groups.setdefault(group, []).append((names, text if everything else parameter.help))
        width = max(len(names) for records in groups.values() for names, _ in records)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(names.ljust(width), text) for names, text in records])

    def invoke(self, ctx: Any) -> Any:
        """Run the command. What is typed goes before what a file says.

        Raises UsageError for two options that contradict each other and were both typed, and for one that is typed and means
        nothing for a photo in a pipe, or for objects.
        """
        out = ctx.params["out"]

        def typed(name: str) -> bool:
            return bool(ctx.get_parameter_source(name).name == "COMMANDLINE")

        def given(name: str) -> bool:
            return ctx.params[name] is not None and ctx.params[name] is not False  # a number may be 0

        def unset(name: str) -> None:
            ctx.params[name] = False if isinstance(ctx.params[name], bool) else None

        for one, other in EXCLUSIVE:
            if given(one) and given(other):
                if typed(one) and typed(other):
                    raise UsageError(contradiction(one, other))
                unset(other if typed(one) else one)
        if isinstance(out, Url) and given("preserve_times"):
            if typed("preserve_times") or not typed("out"):
                raise UsageError(f"{out}: objects have times of their own; --preserve-times is for files")
            unset("preserve_times")
        if out == STDIN:
            for name in NOT_PIPED:
                if typed(name) and given(name):
                    raise UsageError(f"--{name.replace('_', '-')} cannot be used with --out -")
                unset(name)
        return super().invoke(ctx)


def contradiction(one: str, other: str) -> str:
    """What is said of two options that exclude each other."""
    return " and ".join(f"--{name.replace('_', '-')}" for name in (one, other)) + " cannot be used together"


def help_with_everything(context: typer.Context, wanted: bool) -> None:
    """Print the help with every option, and leave."""
    if wanted and not context.resilient_parsing:
        context.meta[ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit
