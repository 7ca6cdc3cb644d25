"""Inputs that no user would want to give: the command must answer each in words, and leave nothing behind.

Run from the top of a checkout, on Linux: python tests/benchmarks/torture.py [--inputs N] [--seconds T] [--kills N]

Each input is a folder of its own with a config, an implementation, a recorded batch and things that are no files, a
command line, an environment and perhaps a signal, drawn with a fixed seed; some of it hostile. It is run as a real
process, two at a time, and ended after some minutes. What is asked of it:

- it ends by itself, with a status that the README lists, and with no traceback of ours;
- no process and no temporary file is left, and no file is changed but the one named as output;
- nothing on stdout or stderr would act on a terminal, unless colour was asked for;
- every machine-readable report parses.

With --kills a usual command, or a process that it has started, is killed at a random moment: its report is whole or
absent, and two seconds later nothing of it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

TOP = Path(__file__).parents[2]
AT_ONCE = 2
LONGEST = 150.0
"""Seconds that an input may take on a busy machine: most take one, but `inspect` gives their code a minute."""

RIGHT = (TOP / "tests/zoo/classes/plain.py").read_text(encoding="utf-8")
FUNCTIONS = """\
import sys, os
import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)

def batchnorm_backward(dout, cache):
    {harm}
    x_hat, gamma, std = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) {sign} x_hat * (g * x_hat).mean(axis=0)) / std
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)

{below}
"""

HARM = (
    "pass",
    "print('\\x1b[2J\\x1b]8;;http://a\\x07 \\x9b31m \\u202e \\u3164 \\x7f \\ud800')",
    "raise type('E\\x1b[31m\\u202e', (Exception,), {})('\\x1b[2J\\r\\n\\x00')",
    "raise ValueError('x' * 10**6)",
    "raise KeyboardInterrupt",
    "raise SystemExit('\\x1b[31m')",
    "raise MemoryError",
    "class Mute(BaseException): __str__ = None\n    raise Mute",
    "os._exit(7)",
    "os.kill(os.getpid(), 11)",
    "os.kill(0, 19)",
    "os.killpg(0, 9)",
    "os.kill(os.getppid(), 9)",
    "os.kill(os.getppid(), 19)",
    "os.closerange(0, 100)",
    "sys.stdout = sys.stderr = None",
    "sys.setrecursionlimit(10**9); f = lambda: f(); f()",
    "import faulthandler; faulthandler.cancel_dump_traceback_later()\n    while True: pass",
    "import time; time.sleep(50)",
    "import subprocess; subprocess.Popen(['sleep', '70'], start_new_session=True)",
    "import signal; signal.signal(15, signal.SIG_IGN); import time; time.sleep(50)",
    "if os.fork() == 0:\n        os.setsid(); os.fork(); import time; time.sleep(70)",
    "os.fork()",
    "print('x' * 10**8)",
    "return None",
    "return dout, 'a', {}",
    "dout[:] = np.nan",
    "np.ones(10**12)",
    "os.chdir('/')",
    "sys.modules.clear()",
    "import threading; threading.Thread(target=lambda: os.read(0, 1)).start()",
    "import shutil; os.environ.clear()",
    "np.seterr(all='raise'); import warnings; warnings.simplefilter('error')",
)
BELOW = (
    "",
    "import bncheck\nbncheck.check(__file__)",
    "while True: pass",
    "raise SystemExit",
    "import antigravity_of_nobody, cv2, torch_of_nobody",
    "print 'hello'",
    "(" * 300,
    "\0",
    "def f():\n\treturn 1\n        return 2",
    "sys.exit('\\x1b[2J')",
    "open(0).read()",
    "class A:\n    def forward(self, x): raise self\n    def backward(self, d): return d",
    "__all__ = 3; __name__ = None; __file__ = 5",
    "import numpy as np; np.ndarray = None",
    "globals().clear()",
)
TOKENS = (
    "", " ", "~", "null", "-1", "0", "1e999", ".nan", "[]", "{}", "[[", "&a [*a]", "*b", "!!python/object:os.system x",
    "'", '"', "\t", "\u202e", "\ue000", "\x1b[31m", "99999999999999999999", "x" * 2000, "[4, 5]", "4x5", "- -", "? :",
    "{<<: 3}", "os", "\u3164", "\x00", "true", "2001-01-01", "---\n", "é", "[" * 80, "1_000", "0x10", "1:30",
)  # fmt: skip
KEYS = (
    "shapes",
    "shape",
    "seeds",
    "eps",
    "dtype",
    "mode",
    "x",
    "dout",
    "rtol",
    "implementation",
    "cases",
    "blind",
    "nokey",
)
PLACES = (
    "layers.py", "layers.py:batchnorm_backward", "layers.py:nothing", "layers", "layers.py:", "pipe", "/dev/zero",
    "link", "folder", "", " ", "os", "reference", "closed-form", "nowhere.py", "\x1b[31m.py", "a b.py", "#.py", "é.py",
    "-x.py",
    "cases.yaml", "batch.npy", "~nobody/x.py", "layers.py/", "secret.py", "numpy.py",
)  # fmt: skip
OUTPUTS = (
    "report",
    "report",
    "report",
    "cases.yaml",
    "layers.py",
    "link",
    "pipe",
    "folder",
    "new/",
    "",
    "/dev/null",
    "é #",
    "-o",
)
FORMATS = ("table", "json", "junit", "html", "markdown", "github", "concise", "nonsense")
VARIABLES = (
    {"COLUMNS": "²"}, {"COLUMNS": "1"}, {"LINES": "x"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb"},
    {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONOPTIMIZE": "2"},
    {"PYTHONWARNINGS": "error"}, {"PYTHONUNBUFFERED": "1"}, {"HOME": "/nowhere"}, {"TMPDIR": "/nowhere"},
    {"GITHUB_ACTIONS": "1"}, {"PYTHONDEVMODE": "1"}, {"OMP_NUM_THREADS": "x"}, {"PYTHONSAFEPATH": "1"},
)  # fmt: skip
WRITES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\u3164]")
STATUSES = {0, 1, 2, 129, 130, 143}


@dataclass
class Input:
    """A folder's files, the command in it, its environment, and the signal that is sent after some seconds."""

    files: dict[str, bytes]
    arguments: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    redirection: str = ""
    number: int = 0
    after: float = 0.0


def drawn(chance: random.Random) -> Input:
    """An input in which about two things of these are hostile, and the others are as a user would have them."""

    def odd(usual: str, others: tuple[str, ...], one_in: int = 4) -> str:
        return usual if chance.randrange(one_in) else chance.choice(others)

    harm = odd("pass", HARM, 2)
    code = FUNCTIONS.format(harm=harm, sign=chance.choice("+-"), below=odd("", BELOW)).encode("utf-8", "surrogatepass")
    config = "shapes: [[4, 5], [6, 3]]\ntimeout: 1\nmemory: 500MB\n"
    if not chance.randrange(3):
        lines = [f"{chance.choice(KEYS)}: {chance.choice(TOKENS)}" for _ in range(chance.randrange(1, 4))]
        config = "\n".join(lines) + "\n" + config * chance.randrange(2)
    content = config.encode("utf-8", "surrogatepass")
    for _ in range(chance.choice((0, 0, 0, 1, 5))):
        at = chance.randrange(len(content) + 1)
        content = (
            content[:at] + bytes([chance.randrange(256)]) * chance.randrange(3) + content[at + chance.randrange(2) :]
        )
    for _ in range(chance.choice((0, 0, 0, 0, 3))):
        at = chance.randrange(len(code) + 1)
        code = code[:at] + bytes([chance.randrange(256)]) + code[at + 1 :]
    files = {
        "layers.py": code,
        "cases.yaml": content,
        "batch.npy": bytes(chance.randrange(200)),
        "right.py": RIGHT.encode(),
    }
    files |= {name: b"x = 1\n" for name in ("numpy.py", "yaml.py", "random.py") if not chance.randrange(12)}
    command = chance.choice(("run",) * 8 + ("inspect", "power"))
    arguments = [command]
    place = odd("layers.py", PLACES).replace("\0", "")
    if command == "inspect":
        arguments += [place, *(["--root", odd(".", PLACES)] if not chance.randrange(4) else [])]
    else:
        arguments += [odd("cases.yaml", ("pipe", "folder", "", "link", "nowhere.yaml", "/dev/zero", "layers.py"), 8)]
    if command == "run":
        arguments += ["-i", place] if chance.randrange(8) else []
        arguments += (
            ["--set", "timeout=1"] if chance.randrange(4) else ["--set", f"{chance.choice(KEYS)}={odd('1', TOKENS, 1)}"]
        )
        arguments += ["--output", odd("report", OUTPUTS, 2)] if not chance.randrange(3) else []
        arguments += ["-j", odd("2", ("0", "x", "²", "-1", ""))] if not chance.randrange(6) else []
        arguments += [chance.choice(("-v", "-q", "--fail-fast", "--in-process")) for _ in range(harm == "pass")]
        arguments += ["--format", chance.choice(FORMATS)] if chance.randrange(2) else []
    arguments += ["-k", odd("4x5", TOKENS)] if command != "inspect" and not chance.randrange(6) else []
    arguments += [chance.choice(("--nonsense", "\x1b[31m", "--", "-"))] if not chance.randrange(25) else []
    variables = dict(item for _ in range(chance.randrange(3)) for item in chance.choice(VARIABLES).items())
    redirection = chance.choice(("",) * 12 + ("<&-", ">&-", "2>&-", ">/dev/full", "| head -c 20"))
    signals = (0,) if redirection else (0,) * 9 + (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
    return Input(
        files,
        [argument.replace("\0", "") for argument in arguments],
        variables,
        redirection,
        chance.choice(signals),
        chance.uniform(0, 2),
    )


def faults_of(given: Input, number: int) -> list[str]:
    """Run an input. Returns what is wrong with the answer, each in some words."""
    mark = f"BNCHECK_TORTURE={os.getpid()}-{number}"
    with tempfile.TemporaryDirectory() as parent:
        folder, temporary = Path(parent, "here"), Path(parent, "tmp")
        (folder / "folder").mkdir(parents=True)
        temporary.mkdir()
        for name, content in given.files.items():
            (folder / name).write_bytes(content)
        os.mkfifo(folder / "pipe")
        (folder / "link").symlink_to("layers.py")
        before = contents(folder)
        name, _, value = mark.partition("=")
        environment = {"PATH": os.environ["PATH"], "HOME": parent, "TMPDIR": str(temporary), "PYTHONPATH": str(TOP)}
        line = ["bash", "-c", f'"$@" {given.redirection}; exit ${{PIPESTATUS[0]}}', "bash"]
        command = [sys.executable, "-m", "bncheck", *given.arguments]
        with (Path(parent, "out")).open("w+b") as out, Path(parent, "err").open("w+b") as err:
            process = subprocess.Popen(
                [*line, *command] if given.redirection else command,
                cwd=folder,
                env=environment | {name: value} | given.variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            faults = ended(process, given)
            texts = [Path(file.name).read_bytes().decode("utf-8", "backslashreplace") for file in (out, err)]
        faults += [f"left running: {found}" for found in running(mark)]
        faults += [f"left in TMPDIR: {left.name}" for left in temporary.iterdir() if given.number != signal.SIGKILL]
        faults += wrong_with(texts, given)
        after = contents(folder)
        output = dict(zip(given.arguments, given.arguments[1:], strict=False)).get("--output")
        own = {"layers.py"} if output == "link" else {"link"} if output == "layers.py" else set()
        for path in before.keys() | after.keys():
            if before.get(path) != after.get(path) and path not in (output, *own) and not path.startswith(".bncheck-"):
                faults.append(f"changed: {path!a}")
        if given.arguments.count(output or "") > 1 and before.get(str(output)) != after.get(str(output)):
            faults.append(f"written over: {output}")
        if output is not None and (folder / output).is_file() and output not in before and output != "/dev/null":
            faults += unparsed((folder / output).read_text(encoding="utf-8"), given, f"--output {output}")
    return faults


def ended(process: subprocess.Popen[bytes], given: Input) -> list[str]:
    """Wait for the end, with the signal where there is one."""
    try:
        if given.number:
            time.sleep(given.after)
            process.send_signal(given.number)
        status = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return ["it hangs"]
    if status in STATUSES or (given.number and status in (-given.number, 128 + given.number)):
        return []
    return [f"status {status}"]


def wrong_with(texts: list[str], given: Input) -> list[str]:
    """What is wrong with stdout and stderr."""
    faults = []
    if "bug in bncheck" in texts[1] or re.search(r'File ".*/bncheck/(?!tests).*\n(?s:.*)\nThis is', texts[1]):
        faults.append(f"a bug: {texts[1].strip().splitlines()[-3:-2]}")
    elif re.search(r'Traceback \(most(?s:.)*File "[^"]*/bncheck/', texts[1]) and "--in-process" not in given.arguments:
        faults.append(f"a traceback: {texts[1][-300:]!a}")
    if (found := WRITES.search("".join(texts))) and not {"PYTHONIOENCODING", "LC_ALL"} & given.variables.keys():
        faults.append(f"writes on the screen: {found[0]!a}")
    if "--output" not in given.arguments and not given.redirection and not given.number and texts[0]:
        faults += unparsed(texts[0], given, "stdout")
    return faults


def unparsed(text: str, given: Input, where: str) -> list[str]:
    """What is wrong with a report in a form that programs read."""
    form = dict(zip(given.arguments, given.arguments[1:], strict=False)).get("--format")
    try:
        if form == "json":
            json.loads(text)
        elif form == "junit":
            ElementTree.fromstring(text)
        elif form == "html" and "</html>" not in text and "</pre>" not in text:
            return [f"{where} is no HTML"]
    except (ValueError, ElementTree.ParseError) as error:
        return [f"{where} does not parse as {form}: {error}"]
    return []


def running(mark: str) -> list[str]:
    """The command lines of processes that have a variable, and have it two seconds from now."""
    deadline = time.monotonic() + 2
    while (found := numbers_of(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(found.values())


def numbers_of(mark: str) -> dict[int, str]:
    """The processes that have a variable, with the ends of their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes()[-80:].decode("ascii", "replace")
    return found


def faults_of_a_kill(chance: random.Random, number: int) -> list[str]:
    """Kill the command, or a process that it has started, at a random moment. Returns what is left that should not."""
    mark = f"{os.getpid()}-kill-{number}"
    with tempfile.TemporaryDirectory() as parent:
        harm = "import subprocess; subprocess.Popen(['sleep', '70'], start_new_session=True)"
        code = FUNCTIONS.format(harm=chance.choice(("pass", harm)), sign=chance.choice("+-"), below="")
        Path(parent, "layers.py").write_text(code, encoding="utf-8")
        options = ["--set", "seeds=20", "--shape", "8x4", "-j", chance.choice("12"), "--format", "json", "-v"]
        process = subprocess.Popen(
            [sys.executable, "-m", "bncheck", "run", "-i", "layers.py", *options, "--output", "report"],
            cwd=parent,
            env=os.environ | {"PYTHONPATH": str(TOP), "BNCHECK_TORTURE": mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0, 2.5))
        victims = [process.pid]
        if chance.randrange(2):
            victims = (
                sorted(found for found in numbers_of(f"BNCHECK_TORTURE={mark}") if found != process.pid) or victims
            )
        victim = chance.choice(victims)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        process.wait(LONGEST)
        faults = [f"left running: {found}" for found in running(f"BNCHECK_TORTURE={mark}")]
        report = Path(parent, "report")
        if report.exists():
            try:
                json.loads(report.read_text(encoding="utf-8"))
            except ValueError as error:
                faults.append(f"half a report: {error}")
        elif victim != process.pid:
            faults.append("no report: of a command that was not killed")
    return faults


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> int:
    """Run them all. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="start no more inputs after so many")
    parser.add_argument("--only", type=int, help="the number of one input, which is shown")
    parser.add_argument("--kills", type=int, default=0, help="kill so many commands at random moments instead")
    given = parser.parse_args()
    started = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background, and so by all that is started

    def one(number: int) -> tuple[int, list[str]] | None:
        if time.monotonic() - started > given.seconds:
            return None
        chance = random.Random(f"{given.seed}-{number}")
        return number, faults_of_a_kill(chance, number) if given.kills else faults_of(drawn(chance), number)

    if given.only is not None:
        shown = drawn(random.Random(f"{given.seed}-{given.only}"))
        print(shown.arguments, shown.variables, shown.redirection, shown.number, shown.after)
        for name, data in shown.files.items():
            print(f"--- {name}\n{data.decode('utf-8', 'backslashreplace')!a}")
    numbers = range(given.kills or given.inputs) if given.only is None else [given.only]
    kinds: Counter[str] = Counter()
    done = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for found in filter(None, threads.map(one, numbers)):
            done += 1
            for fault in found[1]:
                kinds[fault.partition(":")[0]] += 1
                print(f"input {found[0]}: {fault}", flush=True)
    print(f"{done} inputs, {sum(kinds.values())} faults {dict(kinds) or ''} in {time.monotonic() - started:.0f} s")
    print(f"claim: each is answered in words, and nothing is left behind: {'FALLS SHORT' if kinds else 'holds'}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
