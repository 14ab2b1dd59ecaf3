"What tests let other processes do: forked from one that has imported the library, ended at the latest with the test."
import gc
import math
import multiprocessing
import os
import random
import sys
import traceback
from contextlib import contextmanager

from radiogal.config import ConfigError
from radiogal.fetch import Fetcher, FetchError, Limits, Manifest, Wanted, _Turns

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["radiogal.training", "radiogal.scraping", "keras", "nbdev.test", "pandas",
                                "matplotlib.pyplot", "scipy.ndimage", "scipy.spatial", "reproject"])


def look_less_for_garbage():
    "Python goes through all objects again and again: with those of TensorFlow a tenth of the tests' time went there."
    gc.freeze()
    gc.set_threshold(10_000)


def call(function, *arguments):
    "Call a function in a process that was just forked."
    look_less_for_garbage()
    function(*arguments)


@contextmanager
def run(n, function, *arguments, daemon=True):
    "Processes that each call a function with its number and arguments; those that are no daemons may have their own."
    children = [CONTEXT.Process(target=call, args=(function, i, *arguments), daemon=daemon) for i in range(n)]
    for child in children: child.start()
    try: yield children
    finally:
        for child in children: child.kill()
        for child in children: child.join()


def finish(children):
    "Exit statuses; None for one that still runs after ten minutes."
    for child in children: child.join(600)
    return [child.exitcode for child in children]


def fork(function, *arguments):
    "Process id of a child that calls a function; it ends with status 0, or 1 and a traceback."
    if pid := os.fork(): return pid
    try: function(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def get_files(number, folder, host, names, connections=2, max_age_s=math.inf):
    "Get some files in an order of one's own; the exit status is how many could not be had."
    fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), (host,), Limits(connections=connections, wait_s=0.01), 0)
    failed = 0
    for name in random.Random(number).sample(names, len(names)):  # noqa: S311
        try: fetcher.get_file(Wanted(f"http://{host}/{name}", folder/"files"/name, max_age_s=max_age_s))
        except FetchError: failed += 1
    sys.exit(failed)


def get_files_and_tell(number, waiting, *arguments):
    "As `get_files`; a semaphore is released whenever a lock is found taken."
    wait = _Turns.wait
    _Turns.wait = lambda turns, seconds: (waiting.release(), wait(turns, seconds))
    get_files(number, *arguments)


def write_where_one_may_not(number, folder, host, names, sender):
    "Get the first file, make the folder read-only, also for root, and get each again; what was said last is sent."
    fetcher = Fetcher(Manifest(folder/"manifest.sqlite"), (host,), Limits(tries=1), 0)
    wanted = [Wanted(f"http://{host}/{name}", folder/"files"/name, max_age_s=0) for name in names]
    fetcher.get_file(wanted[0])
    for path in (folder, *folder.rglob("*")): path.chmod(0o777 if path.is_dir() else 0o666)
    (folder/"files").chmod(0o555)
    if os.geteuid() == 0: os.seteuid(65534)
    for each in wanted:
        try: fetcher.get_file(each)
        except ConfigError as e: said = str(e)
        else: said = f"{each.path} was written"
    sender.send(said)
