"""The composition root: builds all parts from the settings, and owns the order in which they start and stop."""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from onward_server.api.access import Access, load_access
from onward_server.api.server import Ending, Server
from onward_server.completion.catalogue import Catalogue
from onward_server.completion.completer import Completer
from onward_server.completion.constraints import Constraints
from onward_server.errors import EngineFailed, StartupError
from onward_server.exit_code import ExitCode
from onward_server.loading_steps import LoadingSteps
from onward_server.model.memory import available_memory
from onward_server.model.onnx_session import usable_processors
from onward_server.native_lines import logged_native_lines
from onward_server.program import program
from onward_server.runtime import failpoints
from onward_server.runtime.engine_thread import EngineThread
from onward_server.runtime.failpoints import Parts
from onward_server.runtime.pacing import PrefillPacer
from onward_server.runtime.watchdog import Watchdog, WatchedModel
from onward_server.served_model import ServedModel, load_models
from onward_server.settings.server import Settings
from onward_server.start_line import start_line
from onward_server.telemetry import configure_logging, console, fields, log_uncaught_exceptions
from onward_server.version import VERSION

logger = logging.getLogger(__name__)

_EXIT_CODES = {
    Ending.SIGNAL: ExitCode.OK,
    Ending.SIGNAL_WHILE_LOADING: ExitCode.OK,
    Ending.SECOND_SIGNAL: ExitCode.INTERRUPTED,
    Ending.FAILURE: ExitCode.FAILED,
}
_NO_THREAD = ("can't start new thread", "")
"""Messages of Python when there is no memory for the stack of a thread, and when there is none for the message."""
_MIN_BYTES = 32 << 20
_STOP_LIMIT_S, _FAILURE_LIMIT_S = 15, 5
"""How long the process may take to end after draining: after a signal, and after an engine has failed."""


def run(settings: Settings) -> int:
    """Serves until a signal; returns the exit code of the process.

    In this order: reads keys and certificates; binds the address; loads the models; accepts calls.
    """
    with logged_native_lines() if settings.log_format == "json" else contextlib.nullcontext():
        configure_logging(level=settings.log_level, form=settings.log_format)
        log_uncaught_exceptions()
        return _run(settings)


def _run(settings: Settings) -> int:
    try:
        _require_some_memory()
        ending = asyncio.run(_serve(settings, load_access(settings)))
    except StartupError as error:
        console.error("%s", error)
        return ExitCode.FAILED
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and str(error) not in _NO_THREAD:
            raise
        console.error("%s", _lack_of_memory())
        return ExitCode.FAILED
    except EngineFailed as error:  # its thread still runs, and the interpreter cannot stop it
        logger.critical("ending the process at once: %s", error)
        logging.shutdown()
        os._exit(ExitCode.FAILED)
    return _EXIT_CODES[ending]


@asynccontextmanager
async def running_engines(
    settings: Settings, models: Sequence[ServedModel], failure: asyncio.Event
) -> AsyncGenerator[list[Completer]]:
    """Runs an engine for each model while the block runs. `failure` is set when an engine fails for good.

    Raises:
        EngineFailed: An engine hangs, so its thread could not be stopped.
    """
    async with AsyncExitStack() as stack:
        completers: list[Completer] = []
        for model in models:
            if model.compiler is not None:
                stack.callback(model.compiler.close)
            engine = _engine_thread(settings, model, failure)
            engine.start()
            stack.push_async_callback(_stop, engine)
            completers.append(
                Completer(
                    limits=model.limits,
                    prompts=model.prompts,
                    output_format=model.output_format,
                    constraints=None if model.compiler is None else Constraints(model.compiler),
                    tokenizer=model.tokenizer,
                    engine=engine,
                )
            )
        yield completers


async def _serve(settings: Settings, access: Access) -> Ending:
    failure = asyncio.Event()
    catalogue = Catalogue()
    async with AsyncExitStack() as engines, Server(settings, catalogue, access) as server:

        async def load() -> None:
            logger.info(
                "onward %s, listening on %s; calls are rejected until the models are loaded", VERSION, server.address
            )
            steps = LoadingSteps()
            report = asyncio.create_task(steps.report_while_slow())
            try:
                models = await asyncio.to_thread(load_models, settings, steps)
            finally:
                report.cancel()
            catalogue.set(await engines.enter_async_context(running_engines(settings, models, failure)))
            _exempt_from_collection()
            await server.open()
            started = fields(version=VERSION, address=server.address, models=list(settings.models))
            console.info("%s", start_line(settings, server.address, program()), extra=started)

        ending = await server.run_until_signal(load(), failure)
        _limit_exit(_FAILURE_LIMIT_S if ending is Ending.FAILURE else _STOP_LIMIT_S)
    if ending is Ending.SIGNAL_WHILE_LOADING:
        logging.shutdown()
        os._exit(_EXIT_CODES[ending])  # otherwise Python would wait until the thread has loaded all models
    return ending


def _require_some_memory() -> None:
    """Raises MemoryError where gRPC would retry for 12 s to start its threads, and then abort."""
    available = available_memory()
    if available is not None and available.num_bytes < _MIN_BYTES:
        raise MemoryError


def _lack_of_memory() -> str:
    available = available_memory()
    limit = "the memory of the machine" if available is None else available.limit
    return f"the server needs more memory than {limit} leaves; raise it, end other processes, or serve a smaller model"


def _exempt_from_collection() -> None:
    """Takes all objects that exist now from the garbage collector. They live as long as the process.

    A full collection that visits them stops all calls for 150 ms.
    """
    gc.collect()
    gc.freeze()


def _limit_exit(limit_s: float) -> None:
    """Ends the process with an error if it still runs after this time, whatever its threads are doing."""
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):  # there may be no stderr
        faulthandler.dump_traceback_later(limit_s, exit=True)


async def _stop(engine: EngineThread) -> None:
    await engine.stop()
    if engine.is_running:
        raise EngineFailed("an engine did not stop; its current run of the model hangs or takes very long")


def _engine_thread(settings: Settings, model: ServedModel, failure: asyncio.Event) -> EngineThread:
    watchdog = Watchdog(limit_s=settings.hang_limit_s)
    parts = failpoints.armed(Parts(model=model.loaded.causal_lm), settings.failpoints)
    engine = parts.engine_type(
        WatchedModel(parts.model, watchdog, model.durations),
        num_sampleable=model.limits.num_sampleable,
        num_mask_threads=usable_processors(),
    )
    return EngineThread(
        engine,
        max_queue=settings.max_queue,
        pacer=PrefillPacer(max_chunk=settings.prefill_chunk, step_target_s=settings.step_target_ms / 1000),
        watchdog=watchdog,
        on_failure=failure.set,
        generation_type=parts.generation_type,
    )
