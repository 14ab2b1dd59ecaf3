"What a person sees while Snakemake runs: the logger plugin's lines."
import io
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT/"workflow"))
from snakemake_logger_plugin_radiogal import Progress, read_slurm_reasons


def test_each_notebook_has_a_line_and_a_failed_one_tells_why(tmp_path):
    log = tmp_path/"step.log"
    log.write_text("much else\nradiogal: 22_modelling: cell 3 failed\n  | ZeroDivisionError\n")
    screen = Progress(io.StringIO())
    screen.start(dict(densities=1, training=1))
    screen.begin(1, "04_surveys", log)
    screen.finish(1)
    screen.finish(3)  # what is no notebook
    screen.begin(2, "22_modelling FIRST alhassan", log)
    screen.fail(2, ["status TIMEOUT"])
    said = screen.stream.getvalue().splitlines()
    assert said[0] == "2 notebooks to run" and said[1].split()[0] == "04_surveys" and said[2].endswith("FAILED")
    assert [line.strip() for line in said[3:]] == ["status TIMEOUT", "radiogal: 22_modelling: cell 3 failed",
                                                   "| ZeroDivisionError"]
    assert screen.n_failed == 1


def test_a_log_of_odd_bytes_is_told_without_what_a_terminal_would_obey(tmp_path):
    (tmp_path/"step.log").write_bytes(b"radiogal: \x1b]2;owned\x07 \xff\n")
    screen = Progress(io.StringIO())
    screen.begin(1, "22_modelling", tmp_path/"step.log")
    screen.fail(1)
    assert screen.stream.getvalue().splitlines()[1].strip() == "radiogal: ]2;owned \ufffd"


def test_a_cluster_says_once_why_it_ended_a_job(tmp_path):
    log = tmp_path/"2.log"
    ended = "slurmstepd-n1: error: StepId=2.0 exceeded memory limit (413622272 > 314572800), being killed"
    log.write_text(f"epoch 3\n{ended}\n{ended}\nsrun: error: n1: task 0: Killed\n")
    assert read_slurm_reasons(log) == [ended] and read_slurm_reasons(tmp_path/"no.log") == []
