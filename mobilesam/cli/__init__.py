"""The command line, the only package that prints or exits.

A command is a module with a function or a Typer group, and a line in :func:`build_app`. Its heavy imports are inside
functions, so that ``mobilesam --help`` is fast and ``doctor`` runs when a package is broken.
"""

from __future__ import annotations

import codecs
import gc
import io
import os
import sys
import warnings
from typing import Annotated

import typer

from mobilesam._version import __version__
from mobilesam.cli.options import Command, UsageError
from mobilesam.errors import MobileSamError, is_out_of_memory

_ALLOCATIONS = 10_000  # between garbage collections: at the default of 700, imports of a command trigger a hundred


def build_app() -> typer.Typer:
    """Return the ``mobilesam`` command with its subcommands."""
    from mobilesam.cli import (
        batch,
        bench,
        doctor,
        embed,
        eval,
        everything,
        export,
        finetune,
        predict,
        quantize,
        samples,
        serve,
        site,
        verify,
        webui,
        weights,
    )

    app = typer.Typer(
        name="mobilesam", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    app.callback()(_root)
    app.command("predict", cls=Command, no_args_is_help=True)(predict.predict)
    app.command("everything", cls=Command, no_args_is_help=True)(everything.everything)
    app.command("batch", cls=Command, no_args_is_help=True)(batch.batch)
    app.command("embed", cls=Command, no_args_is_help=True)(embed.embed)
    app.command("samples", cls=Command, no_args_is_help=True)(samples.samples)
    app.add_typer(weights.app, name="weights")
    app.command("eval", cls=Command, no_args_is_help=True)(eval.evaluate)
    app.command("bench", cls=Command)(bench.bench)
    app.command("finetune", cls=Command, no_args_is_help=True)(finetune.finetune)
    app.command("export", cls=Command, no_args_is_help=True)(export.export)
    app.command("quantize", cls=Command, no_args_is_help=True)(quantize.quantize)
    app.command("verify", cls=Command, no_args_is_help=True)(verify.verify)
    app.command("site", cls=Command, no_args_is_help=True)(site.site)
    app.command("serve", cls=Command)(serve.serve)
    app.command("webui", cls=Command)(webui.webui)
    app.command("doctor", cls=Command)(doctor.doctor)
    return app


def main() -> None:
    """Run the command line. An expected error is one line on stderr and exit code 1, wrong usage is exit code 2."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_NAMES)
    try:
        try:
            build_app()(prog_name="mobilesam")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except UsageError as error:
        _fail(str(error), 2)
    except MobileSamError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(1)
    except OSError as error:
        _drop_stdout()
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    except ImportError as error:
        if (error.name or "").startswith("mobilesam"):
            raise
        from mobilesam.cli.doctor import import_remedy

        _fail(f"{error}; {import_remedy(error)}", 1)
    except Exception as error:  # libraries report a lack of memory by errors of many types
        if not is_out_of_memory(error):
            raise
        command = " ".join(["mobilesam", *sys.argv[1:2]])
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        remedy = "Use smaller images, fewer workers or threads, or close other programs."
        _fail(f"{command} ran out of memory ({reason}). {remedy}", 1)


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Segment anything in an image, on a laptop."""
    if not gc.isenabled():  # see mobilesam.__main__
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
        gc.enable()


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"mobilesam {__version__}")
        raise typer.Exit


def _encode_names(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file name that is not UTF-8 unchanged, and characters outside the encoding as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


_NAMES = "mobilesam-names"
codecs.register_error(_NAMES, _encode_names)


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(code)


def _drop_stdout() -> None:
    """Redirect stdout to the null device, so that the interpreter does not fail again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"warning: {message}", err=True)
