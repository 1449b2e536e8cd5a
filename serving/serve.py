"""``lethe serve``: vLLM's OpenAI server with the guard in it, started so that it cannot run without."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from guard import reference
from guard.errors import GuardInactive, InputError
from guard.snapshot import compile_snapshot
from serving import logs, tracing
from serving.delivery import write_snapshot
from serving.settings import read_settings

PROCESSOR = "serving.plugin:GuardLogitsProcessor"
WORKER = "serving.worker.GuardWorker"
PLUGIN = "lethe"
LOGPROBS = "processed_logprobs"
REFERENCE_NAME = "lethe-reference"
CLOSE_SECONDS = 5
"""How long the HTTP server waits for connections that are open after the drain: a client may not read."""
PLUGIN_GROUPS = (
    "vllm.general_plugins",
    "vllm.platform_plugins",
    "vllm.io_processor_plugins",
    "vllm.stat_logger_plugins",
)


def serve(argv: Sequence[str]) -> None:
    """Serves until it is stopped.

    Args:
        argv: a model, then any options of ``vllm serve``; without a model the reference model is served.

    Raises:
        InputError: an option or variable is in conflict with the guard, or a setting is wrong.
        GuardInactive: the guard is not installed, or the started engine does not apply it.
    """
    # Before vLLM is imported: it reads some of its variables then.
    allow_plugin(os.environ)
    refuse_variables(os.environ)
    settings = read_settings()
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server
    from vllm.entrypoints.launchers.cli_args import validate_parsed_serve_args
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.logger import configure_logging_from_args

    cli_env_setup()  # type: ignore[no-untyped-call]
    args = parse(argv)
    configure_logging_from_args(args)
    logs.configure(settings.log_format)  # after vLLM's: what its logging file sets up for our loggers stays
    tracing.configure(settings)
    validate_parsed_serve_args(args)
    refuse_unguarded_speculation(args)
    require_plugin()
    threading.Thread(target=_preload_encoder, daemon=True).start()
    uvloop.run(run_server(args, timeout_graceful_shutdown=CLOSE_SECONDS))


def parse(argv: Sequence[str]) -> Namespace:
    """vLLM's arguments with the guard's own put in.

    Raises:
        InputError: a given option is in conflict with the guard.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.platforms import current_platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="lethe serve"))  # type: ignore[no-untyped-call]
    # None stands for "not given"; the guard's value is the default, so another one was given.
    parser.set_defaults(enforce_eager=None, model=None, logprobs_mode=LOGPROBS, shutdown_timeout=None)
    args: Namespace = parser.parse_args(list(argv))
    args.model = args.model_tag or args.model
    if current_platform.is_cpu():
        choose_quick_start(args, os.environ)
    if args.model is None:
        choose_reference(args)
    args.enforce_eager = bool(args.enforce_eager)
    refuse_options(args)
    put_guard_in(args)
    return args


def choose_quick_start(args: Namespace, environ: Any) -> None:
    """Defaults for a machine without a GPU: ready in seconds rather than fast; any given option wins."""
    if args.enforce_eager is None and args.compilation_config.mode is None:
        args.enforce_eager = True
        # Otherwise the first request for logprobs waits for a kernel to be compiled, eager or not.
        environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    if args.kv_cache_memory_bytes is None:
        # GiB. A stated size also spares the start a measuring run.
        environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


def choose_reference(args: Namespace) -> None:
    """The reference model, under its name."""
    try:
        args.model = str(reference.path("full"))
    except FileNotFoundError as error:
        raise InputError(str(error)) from None
    args.served_model_name = args.served_model_name or [REFERENCE_NAME]


def refuse_options(args: Namespace) -> None:
    """Passes options under which every prompt and every token meets the guard.

    Raises:
        InputError: naming the first that is in conflict.
    """
    conflicts = {
        "--headless": (args.headless, "a headless engine has no API server to guard"),
        "--grpc": (args.grpc, "the gRPC server has no guard"),
        "--grpc-port": (args.grpc_port is not None, "the gRPC server has no guard"),
        "--api-server-count": (
            args.api_server_count not in (None, 1),
            "each API process would hold a guard of its own; run several servers on one database instead",
        ),
        "--worker-extension-cls": (
            args.worker_extension_cls not in ("", None, WORKER),
            "vLLM takes one worker extension, and the guard needs it",
        ),
        "--logprobs-mode": (
            args.logprobs_mode != LOGPROBS,
            f"other modes than {LOGPROBS} show the probabilities of forbidden tokens",
        ),
        "--skip-tokenizer-init": (args.skip_tokenizer_init, "the guard reads tokens as text"),
        "--additional-config": ("lethe" in args.additional_config, "the key 'lethe' is set by this command"),
    }
    for option, (conflict, reason) in conflicts.items():
        if conflict:
            raise InputError(f"{option} cannot be used with 'lethe serve': {reason}; leave it out")


def put_guard_in(args: Namespace) -> None:
    """Sets the options that make the engine apply the guard, keeping what else was given."""
    given = [name for name in args.logits_processors or () if name != PROCESSOR]
    # Last, so that no other processor can lift a ban.
    args.logits_processors = [*given, PROCESSOR]
    args.worker_extension_cls = WORKER
    args.api_server_count = 1
    settings = read_settings()
    if args.shutdown_timeout is None:
        # The limit of the drain, which `serving.drain` waits for. The engine gets it too, for a stop signal
        # to the whole process group: with 0 it would drop at once what it is generating.
        args.shutdown_timeout = math.ceil(settings.drain_seconds)
    # The targets follow before the server opens its port. To start from none keeps the configuration, and
    # with it the compile cache, the same whatever is registered.
    directory = write_snapshot(compile_snapshot(()), settings)
    args.additional_config = {
        **args.additional_config,
        "lethe": {"snapshot": str(directory), "router": True},
    }


def allow_plugin(environ: Any) -> None:
    """Names our endpoint plugin in VLLM_PLUGINS, with what vLLM would load anyway.

    vLLM loads endpoint plugins only by name, but then drops every other plugin that is not named.
    """
    given = environ.get("VLLM_PLUGINS")
    others = (entry.name for group in PLUGIN_GROUPS for entry in entry_points(group=group))
    names = others if given is None else (name for name in given.split(",") if name)
    environ["VLLM_PLUGINS"] = ",".join(dict.fromkeys([*names, PLUGIN]))


def refuse_variables(environ: Any) -> None:
    """Raises InputError if a variable opens ways around the guard."""
    if environ.get("VLLM_SERVER_DEV_MODE", "0") not in ("", "0"):
        raise InputError("VLLM_SERVER_DEV_MODE opens routes past the guard; unset it for 'lethe serve'")


def refuse_unguarded_speculation(args: Namespace) -> None:
    """Raises InputError for speculative decoding under the model runner that applies no processors to it."""
    if args.speculative_config is None:
        return
    from vllm.engine.arg_utils import AsyncEngineArgs

    if not AsyncEngineArgs.from_cli_args(args).create_engine_config().use_v2_model_runner:
        raise InputError(
            "--speculative-config needs vLLM's model runner V2 (GPU with Triton); "
            "V1 would decode without the guard; leave it out"
        )


def require_plugin() -> None:
    """Raises GuardInactive unless vLLM finds our endpoint plugin: it would serve without it."""
    from vllm.plugins import load_endpoint_plugins

    if PLUGIN not in (plugin.name for plugin in load_endpoint_plugins(("generate",))):
        raise GuardInactive(
            "vLLM does not find the endpoint plugin 'lethe'; install the package (pip install lethe-guard)"
        )


def _preload_encoder() -> None:
    """Imports the prompt classifier's libraries while this process would only wait for the engine's."""
    while not multiprocessing.active_children():
        time.sleep(0.1)
    import sentence_transformers  # noqa: F401
