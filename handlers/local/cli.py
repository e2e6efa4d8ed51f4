"""The `stoq` command: scan files here with the same core that scans objects in a bucket."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.exceptions import TyperException

from stoq_core.errors import StoqError

from . import listing, scanning

_EXAMPLES = """Examples:

  stoq scan invoice.zip                       show what is in it and the verdict

  stoq scan --password infected sample.zip    open an encrypted archive

  stoq scan --json ~/Downloads | jq .scan_id  one document a line

Exit codes: 1 something is suspicious or malicious, 2 something is incomplete or failed, 0 all clean.
"""

app = typer.Typer(
    help="Scan files: routed to plugins, taken apart, judged and stored.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rules_app = typer.Typer(help="Check YARA rules and build them into one ruleset.", no_args_is_help=True)
results_app = typer.Typer(help="Look into stored results.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(results_app, name="results")

_Config = Annotated[Optional[Path], typer.Option("--config", help="A stoq.toml instead of the shipped one.")]
_Set = Annotated[
    Optional[list[str]],
    typer.Option("--option", "-o", help="Any setting: worker.yara.strings_limit=5, limits.depth=3."),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document a line.")]


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"stoq {listing.version()}")
        raise typer.Exit


@app.command(epilog=_EXAMPLES)
def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Files, folders, globs, or - for stdin.")
    ],
    json: _Json = False,
    always: Annotated[Optional[list[str]], typer.Option(help="One more worker for every payload.")] = None,
    only: Annotated[
        Optional[list[str]], typer.Option(help="A worker for every payload in place of the shipped ones.")
    ] = None,
    start: Annotated[Optional[list[str]], typer.Option(help="A worker for the files themselves.")] = None,
    dispatcher: Annotated[Optional[list[str]], typer.Option(help="One more dispatcher.")] = None,
    decorator: Annotated[Optional[list[str]], typer.Option(help="One more decorator.")] = None,
    archiver: Annotated[Optional[list[str]], typer.Option(help="An archiver.")] = None,
    connector: Annotated[Optional[list[str]], typer.Option(help="Where results go instead.")] = None,
    option: _Set = None,
    request_source: Annotated[Optional[str], typer.Option(help="Where the files came from.")] = None,
    request_extra: Annotated[Optional[list[str]], typer.Option(help="KEY=VALUE for request_meta.")] = None,
    max_depth: Annotated[Optional[int], typer.Option(help="How deep to take files apart.", min=0)] = None,
    password: Annotated[Optional[list[str]], typer.Option(help="Tried on encrypted files.")] = None,
    scan_id: Annotated[Optional[str], typer.Option(help="A UUID instead of a random one.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Without the sandbox, for debuggers.")] = False,
    config: _Config = None,
) -> None:
    """Scan files and show what is in them, with verdicts."""
    chosen: dict[str, Any] = {
        "scan.always": always,
        "scan.only": only,
        "scan.start": start,
        "scan.dispatchers": dispatcher,
        "scan.decorators": decorator,
        "scan.archivers": archiver,
        "scan.connectors": connector,
        "limits.depth": max_depth,
        "sandbox.mode": "inline" if inline else None,
    }
    asked = scanning.Asked(
        overrides=[(k, v) for k, v in chosen.items() if v is not None] + scanning.settings(option or []),
        source=request_source,
        extra=dict(scanning.settings(request_extra or [])),
        passwords=password or [],
        scan_id=scan_id,
        config=config,
    )
    raise typer.Exit(scanning.run(paths, asked, as_json=json))


@app.command()
def demo(json: _Json = False) -> None:
    """Scan a small set built in code: a nested EICAR, an encrypted zip, a bomb, a clean file."""
    raise typer.Exit(scanning.demo(as_json=json))


@app.command()
def plugins(config: _Config = None) -> None:
    """List the plugins that are there, and what keeps any from working."""
    listing.plugins(config)


@app.command()
def plugin(name: str, config: _Config = None) -> None:
    """Show a plugin's options, result fields and errors."""
    listing.plugin(name, config)


@app.command()
def doctor(config: _Config = None) -> None:
    """Say what this machine offers to protect a scan, which tools and libraries are missing, what to do."""
    from . import doctor as own

    raise typer.Exit(own.examine(config))


@app.command("config")
def show_config(config: _Config = None, option: _Set = None) -> None:
    """Print the settings in force, from all layers, as JSON."""
    listing.settings_in_force(config, scanning.settings(option or []))


@rules_app.command("check")
def rules_check(paths: Annotated[list[Path], typer.Argument(help="Rule files or folders.")]) -> None:
    """Name each bad rule, why it is bad and what to do; exit 2 if there is any."""
    raise typer.Exit(listing.rules_check(paths))


@rules_app.command("build")
def rules_build(
    paths: Annotated[list[Path], typer.Argument(help="Rule files or folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the ruleset.")] = Path("rules/build"),
) -> None:
    """Compile rules into one digest-named ruleset; bad rules are named and left out."""
    raise typer.Exit(listing.rules_build(paths, out))


@results_app.command("list")
def results_list(
    limit: Annotated[int, typer.Option(min=1)] = 20,
    verdict: Annotated[Optional[str], typer.Option(help="Only this verdict.")] = None,
    config: _Config = None,
) -> None:
    """The newest results."""
    listing.results(config, limit=limit, verdict=verdict)


@results_app.command("search")
def results_search(
    sha256: Annotated[Optional[str], typer.Option()] = None,
    name: Annotated[Optional[str], typer.Option(help="Part of a file's name.")] = None,
    finding: Annotated[Optional[str], typer.Option(help="A finding's name.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    config: _Config = None,
) -> None:
    """Results that hold a digest, a name or a finding."""
    listing.search(config, sha256=sha256, name=name, finding=finding, limit=limit)


@results_app.command("show")
def results_show(scan_id: str, config: _Config = None, json: _Json = False) -> None:
    """One stored result."""
    raise typer.Exit(listing.show(config, scan_id, as_json=json))


def main() -> None:
    """Run the command; what a user did wrong is one line, no traceback."""
    try:
        sys.exit(app(standalone_mode=False))
    except StoqError as error:
        typer.echo(f"stoq: {error}", err=True)
    except TyperException as error:
        _misused(error)
    except BrokenPipeError:
        pass
    sys.exit(2)


def _misused(error: Any) -> None:
    """A command line that is none: what is wrong with it, and where to look; or the help that was wanted."""
    message = error.format_message().strip().removesuffix(".")
    if not message or "\n" in message:
        error.show()
        return
    command = error.ctx.command_path if getattr(error, "ctx", None) else "stoq"
    stop = "" if message.endswith("?") else "."
    typer.echo(f"stoq: {message}{stop} See `{command} --help`", err=True)
