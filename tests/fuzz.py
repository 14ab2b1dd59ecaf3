"""Fuzzing: seeded, malformed files of each kind that radiogal reads end in a reading or in a named error.

    python tests/fuzz.py --cases 10000 --seed 1 docs/fuzz.md   # make fuzz CASES=10000
    python tests/fuzz.py --kind weights --only 1234 --seed 1   # one case again, with its traceback

A seed draws the same cases on each machine. What a case may take is limited: address space and processor time.
"""
import argparse
import logging
import multiprocessing
import os
import platform
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fuzz_kinds import KINDS

from radiogal.config import RadiogalError

MEMORY, SECONDS = 1 << 30, 20  # Address space beyond what is taken before, and processor time of a reader
WORDS = 1500  # Characters that a line of an error may have
CHUNK = 2500  # Cases of a process
LONGEST_S = 3600  # Of a process, which waits while the machine does other things


class TooLong(BaseException):
    "A case took more processor time than it may; no reader takes this for an error of the file."


def tell_late(*_): raise TooLong(f"more than {SECONDS} s of processor time")


@contextmanager
def limit_memory():
    "At most `MEMORY` more address space than now, where the system tells how much that is."
    if not (told := Path("/proc/self/statm")).exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(told.read_text().split()[0])*os.sysconf("SC_PAGESIZE") + MEMORY,
                                            before[1]))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def limit_time():
    "Raises `TooLong` where the block takes too much processor time."
    before = signal.signal(signal.SIGPROF, tell_late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try: yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def find_flaw(error, path, is_named):
    "What is wrong with a named error's words; '' if nothing is."
    words = str(error)
    if "MemoryError" in words or "Unable to allocate" in words: return "ran out of memory"
    if is_named and path.name not in words: return "does not name the file"
    if not all(line.isprintable() for line in words.split("\n")): return "has characters that are not printable"
    if max(map(len, words.split("\n"))) > WORDS: return "has too long a line"
    return "" if words.strip() else "has no words"


@dataclass
class End:
    "How a reader ended: accepted, refused or fault; the words, and what tells one fault from another."
    kind: str
    words: str = ""
    place: str = ""


def read_once(read, path, is_named):
    "How a reader ends on a file."
    try:
        with limit_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy says much of broken files, which is its right
            read(path)
    except RadiogalError as e:
        flaw = find_flaw(e, path, is_named)
        return End("fault", f"{type(e).__name__} {flaw}: {str(e)[:300]}", flaw) if flaw else End("refused", str(e))
    except KeyboardInterrupt: raise
    except BaseException as e:
        place = traceback.extract_tb(e.__traceback__)[-1]
        return End("fault", "".join(traceback.format_exception(e))[-3000:], f"{type(e).__name__} in {place.name}")
    return End("accepted")


def draw_case(name, number, seed, folder):
    "A case's file, and its kind."
    kind, rng = open_kind(name), random.Random(f"{seed} {name} {number}")  # noqa: S311
    suffix, content = kind.make(rng)
    (path := folder/f"case{suffix}").write_bytes(content)
    return kind, path


@cache
def open_kind(name): return KINDS[name]()


def try_case(name, number, seed, folder):
    "How each reader of a kind ends on a case."
    kind, path = draw_case(name, number, seed, folder)
    with limit_memory(): ends = {key: read_once(read, path, kind.names_file) for key, read in kind.readers.items()}
    if left := sorted(p.name for p in folder.iterdir() if p != path):
        ends["files"] = End("fault", f"left behind: {left}", "files left behind")
    for p in folder.iterdir(): shutil.rmtree(p) if p.is_dir() else p.unlink()
    return ends


def judge(ends):
    "One word for a case: a fault of any reader is one; it is refused where no reader takes it."
    return next(kind for kind in ("fault", "accepted", "refused") if kind in {end.kind for end in ends.values()})


@dataclass
class Log:
    "Of a kind: how cases ended, the first case of each fault, processor time (s) and peak memory (MiB)."
    counts: Counter = field(default_factory=Counter)
    faults: dict = field(default_factory=dict)
    cpu_s: float = 0.
    peak_mib: int = 0

    def add(self, other):
        "Take in what another process saw."
        self.counts += other.counts
        self.faults = other.faults | self.faults
        self.cpu_s, self.peak_mib = self.cpu_s + other.cpu_s, max(self.peak_mib, other.peak_mib)


def measure_cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def try_cases(name, numbers, seed, folder):
    "A log of cases, tried in this process."
    log, begun = Log(), measure_cpu()
    for number in numbers:
        ends = try_case(name, number, seed, folder)
        log.counts[judge(ends)] += 1
        for key, end in ends.items():
            if end.kind == "fault": log.faults.setdefault(f"{name}, {key}: {end.place}", (number, end.words))
    log.cpu_s = measure_cpu() - begun
    log.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)
    return log


def work(connection, name, numbers, seed):
    "A process's part."
    logging.disable()  # What is ignored is said in the log
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tempfile.tempdir = folder  # What readers leave behind is found
        connection.send(try_cases(name, numbers, seed, Path(folder)))


def try_apart(name, numbers, seed):
    "A log of cases, tried in a process of their own: what kills it is a fault."
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, name, numbers, seed))
    process.start()
    sender.close()
    with suppress(EOFError):
        if receiver.poll(LONGEST_S):
            log = receiver.recv()
            process.join()
            return log
    process.kill()
    process.join()
    return Log(Counter(fault=1), {f"{name}: process ended": (numbers[0], f"status {process.exitcode}, {numbers}")})


def shrink(name, content, suffix, key, place, folder):
    "A shorter content with the same fault: what can be left out is left out."
    kind, step = open_kind(name), len(content)//2
    def has_fault(part):
        (path := folder/f"case{suffix}").write_bytes(part)
        with limit_memory(): return read_once(kind.readers[key], path, kind.names_file).place == place
    while step:
        for at in range(0, len(content), step):
            if has_fault(part := content[:at] + content[at + step:]): content = part
        step //= 2 if len(content)//step < 300 else len(content)
    return content


ABOUT = """Malformed files of each kind that radiogal reads, drawn from a seed: bytes are changed, cut out, repeated
or taken from another file, and headers, settings, columns and data sets are given other values, sizes and types. A case
is accepted where a reader of its kind takes it, refused where none does and each raises an error of radiogal that says
why; a fault is another error, an error that says it ran out of memory, files left behind, more than 1 GiB of memory, or
more than 20 s of processor time."""


def format_report(logs, cases, seed):
    "Markdown: a row for each kind of file; a page of the site that no other leads to."
    rows = [f"| {name} | {sum(log.counts.values()):,} | {log.counts['accepted']:,} | {log.counts['refused']:,} "
            f"| {log.counts['fault']} | {log.cpu_s:.0f} | {log.peak_mib} |" for name, log in logs.items()]
    faults = [f"* {what}, case {number}" for log in logs.values() for what, (number, _) in log.faults.items()]
    return "\n".join(["# Fuzzing", "", ABOUT, "",
                      f"{cases:,} cases of each kind, seed {seed}, Python {platform.python_version()}. Peak memory "
                      "includes the interpreter and its libraries.", "",
                      "| | cases | accepted | refused | faults | processor time (s) | peak memory (MiB) |",
                      "|---"*7 + "|", *rows, *([""] if faults else []), *faults]) + "\n"


def repeat_case(name, number, seed):
    "Show a case again: how each reader ends, and the least content with its first fault."
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        kind, path = draw_case(name, number, seed, Path(folder))
        content, suffix = path.read_bytes(), path.name.removeprefix("case")
        ends = try_case(name, number, seed, Path(folder))
        for key, end in ends.items(): print(f"{key}: {end.kind} {end.place}\n{end.words}")
        wrong = next((key for key in kind.readers if ends[key].kind == "fault"), None)
        if wrong: print(shrink(name, content, suffix, wrong, ends[wrong].place, Path(folder))[:6000])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, nargs="?", help="Markdown file to write")
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=list(KINDS), help="this kind alone")
    parser.add_argument("--only", type=int, help="show this case alone")
    asked, logs = parser.parse_args(), {}
    if asked.only is not None: return repeat_case(asked.kind, asked.only, asked.seed)
    for name in [asked.kind] if asked.kind else KINDS:
        log, begun = logs.setdefault(name, Log()), time.monotonic()
        for first in range(0, asked.cases, CHUNK):
            log.add(try_apart(name, range(first, min(first + CHUNK, asked.cases)), asked.seed))
        print(f"{name}: {dict(log.counts)} {log.cpu_s:.0f} s of processor time, {time.monotonic() - begun:.0f} s, "
              f"{log.peak_mib} MiB", flush=True)
        for what, (number, words) in log.faults.items(): print(f"  {what}: case {number}: {words[-600:]}", flush=True)
    if asked.report: asked.report.write_text(format_report(logs, asked.cases, asked.seed))
    return any(log.faults for log in logs.values())


if __name__ == "__main__": sys.exit(main())
