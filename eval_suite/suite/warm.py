"""Jobs that start from one process with everything imported: torch, timm and their like take five processor seconds to import.

`run` keeps the server, and ``python -m eval_suite`` hands its command over where such a run calls it. Each job is still a
process of its own, forked from the server: its memory, exit code, log, signals and end are those of the command that
Snakemake started and that waits for it. Where there is no server, or it fails, the command runs where it is called.
"""

import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import IO, Any, NamedTuple

from eval_suite.core.processes import child_environment, identity

SERVE = "serve-jobs"
_PROGRAM = ("-m", "eval_suite", SERVE)
_VARIABLE = "EVAL_SUITE_SERVER"
_LENGTH, _STATUS = struct.Struct("!Q"), struct.Struct("!i")
_PEER = struct.Struct("3i")
_STARTED = b"s"
_WITHOUT_NETWORKS = "data"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_STREAMS = (0, 1, 2)
_FEWEST = 2
_ALWAYS = (
    "torch",
    "torchvision",
    "timm",
    "eval_suite.cli.evaluate",
    "eval_suite.backbones.sources",
    "eval_suite.data.resampling",
)
_TRAINING = ("eval_suite.cli.train", "eval_suite.training.loop", "accelerate")


@contextmanager
def server(verbs: list[str], environment: dict[str, str], log: IO[str]) -> Iterator[dict[str, str]]:
    """Keep a server running, and yield the environment of jobs that shall start from it.

    Args:
        verbs: the command of each job; where fewer than two need networks, or off Linux, there is no server.
        environment: of the server and of jobs.
        log: receives what the server prints.
    """
    if sum(verb != _WITHOUT_NETWORKS for verb in verbs) < _FEWEST or not hasattr(os, "pidfd_open"):
        yield environment
        return
    # An abstract name leaves nothing on the disk, however this process ends.
    name = f"eval-suite-{identity()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen(len(verbs))
        process = subprocess.Popen(
            [sys.executable, *_PROGRAM, str(listener.fileno()), *sorted(set(verbs))],
            stdin=subprocess.PIPE,  # at whose end the server ends, should this process be killed
            stdout=log,
            stderr=log,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # so that a Ctrl-C reaches a job once, through its command
        )
    with process:
        try:
            yield {**environment, _VARIABLE: name}
        finally:
            process.terminate()


def run_from_server(argv: list[str]) -> int | None:
    """Let the server of this run do a command as if it ran here.

    Signals are passed on to the job; of the one that ends it this process dies too.

    Returns:
        Its exit code, or None where there is no server and nothing has been done.
    """
    name = os.environ.pop(_VARIABLE, None)
    if name is None or argv[1:2] == [_WITHOUT_NETWORKS]:
        return None
    # A signal waits until it can be passed on, or until the command runs here.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        return _from_server(name, argv)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


def _from_server(name: str, argv: list[str]) -> int | None:
    request = json.dumps({"argv": argv, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(f"\0{name}")
            if not _of_this_user(link):
                return None
            socket.send_fds(link, [_LENGTH.pack(len(request))], _STREAMS)
            link.sendall(request)
            if link.recv(1) != _STARTED:
                return None
        except OSError:
            return None
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _frame: link.sendall(bytes([number])))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        answer = link.recv(_STATUS.size, socket.MSG_WAITALL)
    if len(answer) < _STATUS.size:
        sys.stderr.write("error: the process that this job started from has ended\n")
        return 1
    code = os.waitstatus_to_exitcode(_STATUS.unpack(answer)[0])
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


class _Job(NamedTuple):
    """A running job: its process, what becomes readable when that ends, and the connection to its command."""

    pid: int
    ended: int
    link: socket.socket


def serve(descriptor: str, *verbs: str) -> None:
    """Start jobs as they are asked for, until nobody holds the other end of the standard input.

    Returns in the process of a job alone, whose command line is in ``sys.argv`` then.

    Args:
        descriptor: of the socket that listens.
        verbs: what the jobs will be.
    """
    _import(list(verbs))
    # Frozen, what is there now is never collected, so that jobs share its memory.
    gc.collect()
    gc.freeze()
    listener = socket.socket(fileno=int(descriptor))
    jobs: list[_Job] = []
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        key = selector.select()[0][0]
        if key.fileobj == 0:
            os._exit(0)  # jobs see that their parent has gone
        elif key.fileobj is listener:
            link, _address = listener.accept()
            if (asked := _received(link)) is None:
                link.close()
                continue
            request, streams = asked
            request["environment"] = child_environment(request["environment"])
            if not (pid := os.fork()):
                selector.close()
                for other in (listener, link, *(each.link for each in jobs)):
                    other.close()
                for each in jobs:
                    os.close(each.ended)
                _become(request, streams)
                return
            for stream in streams:
                os.close(stream)
            with suppress(OSError):
                link.sendall(_STARTED)
            begun = _Job(pid, os.pidfd_open(pid), link)
            jobs.append(begun)
            selector.register(begun.ended, selectors.EVENT_READ, begun)
            selector.register(link, selectors.EVENT_READ, begun)
            continue
        job: _Job = key.data
        if key.fileobj is job.link:
            if not (signals := _signals(job.link)):
                selector.unregister(job.link)
            for number in signals or [signal.SIGKILL]:  # a command that was killed takes its job along
                os.kill(job.pid, number)
        else:
            jobs.remove(job)
            status = os.waitpid(job.pid, 0)[1]
            with suppress(OSError):
                job.link.sendall(_STATUS.pack(status))
            with suppress(KeyError):
                selector.unregister(job.link)
            selector.unregister(job.ended)
            job.link.close()
            os.close(job.ended)


def _received(link: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What a command asks for, and its standard streams; None where it is another user's or has gone."""
    if not _of_this_user(link):
        return None
    head, streams, _flags, _sender = socket.recv_fds(link, _LENGTH.size, len(_STREAMS))
    if len(head) < _LENGTH.size:
        return None
    request = bytearray()
    (length,) = _LENGTH.unpack(head)
    while len(request) < length:
        if not (part := link.recv(length - len(request))):
            for stream in streams:
                os.close(stream)
            return None
        request += part
    return json.loads(request), streams


def _signals(link: socket.socket) -> bytes:
    try:
        return link.recv(64)
    except OSError:
        return b""


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Make this process that of a command."""
    for number, stream in zip(_STREAMS, streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]


def _of_this_user(link: socket.socket) -> bool:
    _pid, user, _group = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return user == os.getuid()


def _import(verbs: list[str]) -> None:
    """Import what these commands do, as far as it may come before a fork: nothing of it may look for a GPU."""
    from eval_suite.core.parts import part, parts

    for name in (*_ALWAYS, *(_TRAINING if "train" in verbs else ())):
        with suppress(ImportError):  # the job that needs it says what is wrong
            import_module(name)
    for verb in parts("task").keys() & set(verbs):
        part("task", verb).preload()
