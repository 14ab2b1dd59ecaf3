"Packaging: everything is read from settings.ini, so that nbdev and pip cannot disagree."
import runpy
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(here/"settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
lines = lambda key: cfg[key].strip().splitlines()


write_docstrings = runpy.run_path(str(here/"radiogal"/"docstrings.py"))["write_docstrings"]


class BuildWithSettings(build_py):
    "A wheel also has the settings of the shipped runs, for which a clone has a folder, and arguments in docstrings."
    def run(self):
        super().run()
        if self.editable_mode: return
        built = Path(self.build_lib)/"radiogal"
        self.mkpath(str(built/"settings"))
        for path in sorted((here/"config").glob("*.toml")): self.copy_file(str(path), str(built/"settings"/path.name))
        for path in sorted((here/"radiogal").glob("*.py")):
            (built/path.name).write_text(write_docstrings(path.read_text(encoding="utf-8")), encoding="utf-8")


setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"],
    long_description=(here/"README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"], author_email=cfg["author_email"], url=cfg["git_url"], keywords=cfg["keywords"],
    license="BSD-3-Clause", license_files=["LICENSE"],
    packages=[cfg["lib_name"]], cmdclass=dict(build_py=BuildWithSettings),
    package_data={cfg["lib_name"]: ["*.mplstyle", "*.csv", "*.csv.gz", "samples/*", "samples/*/*.fits", "templates/*",
                                    "templates/*/*", "networks/*"]},
    python_requires=f'>={cfg["min_python"]},<3.14', install_requires=lines("requirements"),
    extras_require={extra: lines(f"{extra}_requirements") for extra in ("train", "gpu", "archives", "notebooks",
                                                                        "workflow", "dev")},
    entry_points={"console_scripts": ["radiogal=radiogal.cli:main"],
                  "nbdev": [f'{cfg["lib_name"]}={cfg["lib_name"]}._modidx:d']},
)
