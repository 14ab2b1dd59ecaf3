"What a code host reads: workflows, templates, recipes of images and metadata are valid, and in step with the Makefile."
import itertools
import json
import re
import subprocess
import sys
from configparser import ConfigParser

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT/".github"/"workflows").glob("*.yml"))
SCHEMAS = {"github-workflows": WORKFLOWS, "dependabot": [ROOT/".github"/"dependabot.yml"],
           "github-issue-config": [ROOT/".github"/"ISSUE_TEMPLATE"/"config.yml"],
           "github-issue-forms": [path for path in sorted((ROOT/".github"/"ISSUE_TEMPLATE").glob("*.yml"))
                                  if path.stem != "config"],
           "citation-file-format": [ROOT/"CITATION.cff"]}
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT/"Makefile").read_text(), re.MULTILINE))


def read_settings():
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT/"settings.ini")
    return parser["DEFAULT"]


def list_steps(path):
    "Steps of all jobs of a workflow."
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_follow_their_schema(name):
    said = subprocess.run([sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{name}",
                           *SCHEMAS[name]], capture_output=True, text=True)
    assert SCHEMAS[name] and said.returncode == 0, said.stdout + said.stderr


def list_marks(target):
    "Which marks `make TARGET` asks for, as an expression; what it does is not done."
    told = subprocess.run(["make", "--dry-run", "--silent", "STAMP=", "RADIOGAL_ARTEFACTS=there", target], cwd=ROOT,
                          capture_output=True, text=True, check=True).stdout
    assert f"--junit-xml=there/{target}.xml" in told  # How long each test took is kept, whichever suite it is of
    return re.search(r'-m (?!pytest)("[^"]+"|\w+)', told.splitlines()[-1])[1].strip('"')


def list_ran():
    "Targets that `.ci/run` calls, and `faults` where one of them runs its tests."
    lines = (ROOT/".ci"/"run").read_text().splitlines()
    called = set().union(*(line.split()[1:] for line in lines if line.startswith("make ")))
    marks = dict(full=False, fault=True, long=False)
    held = [target for target in called & {"test", "test-all"} if eval(list_marks(target), {}, marks)]  # noqa: S307
    return called | ({"faults"} if held else set())


def test_each_test_is_in_a_suite_and_no_fault_in_two_of_ci():
    quick, others, faults, long = map(list_marks, ("test", "test-all", "faults", "test-long"))
    assert {"test", "test-all"} <= list_ran()
    for full, fault, takes_minutes in itertools.product([False, True], repeat=3):
        marks = dict(full=full, fault=fault, long=takes_minutes)
        held = [eval(said, {}, marks) for said in (quick, others, faults, long)]  # noqa: S307
        assert any(held) and not (held[0] and held[1]), marks
        if not takes_minutes: assert held[0] or held[1], marks
        assert held[2] == fault, marks


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_of_a_workflow_is_a_target_that_ci_runs_here_too(path):
    ran = list_ran()
    for line in (line for step in list_steps(path) for line in step.get("run", "").splitlines()):
        assert (found := re.fullmatch(r"make ([a-z-]+)( TAG=\"\$GITHUB_REF_NAME\")?", line)), line
        assert found[1] in TARGETS and found[1] in ran | {"env"}, line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_no_more_than_it_must(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"} and "pull_request_target" not in path.read_text()
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert set(granted) <= {"publish"} and all(set(each) <= {"pages", "id-token"} for each in granted.values())
    assert all("timeout-minutes" in job for job in workflow["jobs"].values()) and "secrets." not in path.read_text()
    for step in list_steps(path):
        assert "${{" not in step.get("run", "")
        if "checkout" in step.get("uses", ""): assert step["with"]["persist-credentials"] is False


def test_the_matrix_has_the_pythons_that_the_package_is_for():
    matrix = yaml.safe_load((ROOT/".github"/"workflows"/"test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"] and matrix["python"][0] == read_settings()["min_python"]
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT/"Makefile").read_text()
    assert [each["os"] for each in matrix["include"]] == ["macos-latest"]


def test_metadata_agree_with_the_settings():
    settings = read_settings()
    cff, meta, zenodo = (yaml.safe_load((ROOT/name).read_text())
                         for name in ("CITATION.cff", "codemeta.json", ".zenodo.json"))
    assert {each["version"] for each in (cff, meta, zenodo)} == {settings["version"]}
    assert [cff["authors"], meta["author"], zenodo["creators"]] == [
        [dict(name=settings["author"])], [{"@type": "Organization", "name": settings["author"]}],
        [dict(name=settings["author"])]]
    assert settings["license"] == "bsd3" and 'license="BSD-3-Clause"' in (ROOT/"setup.py").read_text()
    assert cff["license"] == zenodo["license"] == meta["license"].removeprefix("https://spdx.org/licenses/") == (
        "BSD-3-Clause")
    assert cff["title"] == zenodo["title"] and meta["description"] == zenodo["description"] == settings["description"]
    assert cff["repository-code"] == meta["codeRepository"] == settings["git_url"]
    assert meta["softwareHelp"] == settings["doc_host"] + settings["doc_baseurl"]
    assert meta["keywords"] == zenodo["keywords"] == settings["keywords"].split(", ")
    assert meta["runtimePlatform"] == f"Python >= {settings['min_python']}"


def test_both_images_are_made_of_the_same_packages():
    apptainer, oci = ((ROOT/"containers"/name).read_text() for name in ("radiogal.def", "Containerfile"))
    install = re.search(r"/opt/radiogal/bin/python -m pip install .+", apptainer)[0]
    needed = re.search(r"Include: (.+)", apptainer)[1].split(",")
    assert install in oci and set(needed) <= set(oci.split()) and "bookworm" in oci and "bookworm" in apptainer
    start = "import sys; from radiogal.cli import main; sys.exit(main())"
    assert start in apptainer and json.loads(re.search(r"ENTRYPOINT (.+)", oci)[1]) == ["python", "-c", start]


def test_what_editors_and_git_call_are_targets_too():
    editor = json.loads((ROOT/".devcontainer"/"devcontainer.json").read_text())
    (hook,) = yaml.safe_load((ROOT/".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert all(command.split()[0] == "make" and command.split()[1] in TARGETS
               for command in (editor["postCreateCommand"], hook["entry"]))


@pytest.mark.parametrize("path", sorted((ROOT/".github").glob("*.md")), ids=lambda path: path.stem)
def test_what_a_contributor_reads_is_there(path):
    text = path.read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text): assert (path.parent/link).exists(), link
    places = re.findall(r"`((?:nbs|radiogal|tests|docs|containers|\.devcontainer|\.ci)/[\w./-]*)`", text)
    assert [place for place in places if not (ROOT/place).exists()] == []
    assert set(re.findall(r"`?make ([a-z-]+)", text)) <= TARGETS


def test_a_tag_of_another_version_is_no_release():
    version = read_settings()["version"]
    ask = lambda tag: subprocess.run(["make", "--silent", "STAMP=", "BIN=/nowhere", f"TAG={tag}", "wheel"], cwd=ROOT,
                                     capture_output=True, text=True)
    for tag in ("v9.9.9", version, 'v1"; touch hacked; "', "$(touch hacked)"):
        said = ask(tag)
        assert said.returncode and f"the tag {tag} is not v{version}" in said.stdout
    assert not (ROOT/"hacked").exists()
