"""What Snakemake made into DVC's record, and back. Both ways are gated: ungated, either certifies stale results."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monolayer.files import InputError
from monolayer.provenance.stages import local_files

if TYPE_CHECKING:
    from dvc.repo import Repo

logger = logging.getLogger(__name__)
SHOWN = 5  # faults in an error's text
STAMP, SLACK = ".snakemake_timestamp", 2.0  # of a folder that a rule makes; seconds by which clocks may differ


def record() -> None:
    """Write dvc.lock from what a Snakemake or cluster run left; refused unless Snakemake vouches for every byte."""
    with _repo() as repo:
        made = made_files()
        faults = [*unfinished(made), *edited(made), *replaced(repo, made), *unknown_outs(repo, made), *strays(repo)]
        _stop_at("nothing was recorded", faults)
        _warn_of_unseen(repo)
        repo.commit(force=True)
    _stop_at("dvc.lock is written, but files change while they are recorded", changed())
    touch()  # DVC gave each file that it took into its cache the time of now, the order of which says nothing
    logger.info("recorded in dvc.lock; commit it with the tables, then `dvc push`")


def restore() -> None:
    """Tell Snakemake that what `dvc pull` or `dvc checkout` brought is up to date; refused unless DVC says so too."""
    with _repo() as repo:
        _stop_at("nothing was restored", [*changed(), *strays(repo)])
    touch()
    logger.info("Snakemake has nothing to do")


def touch() -> None:
    """Give all that the workflow made times in its order, and provenance; only for files that were vouched for."""
    _snakemake("--touch", "--forceall", "--quiet", "all")
    _stop_at("Snakemake and DVC disagree", [*unfinished(made_files()), *changed()])


def made_files() -> list[dict[str, str]]:
    """A row for each output of the workflow: output_file, rule, shellcmd, status, plan (and more that is not used).

    shellcmd is what the output's provenance has recorded, `-` where there is none.
    """
    head, *rows = (line.split("\t") for line in _snakemake("--detailed-summary").splitlines() if "\t" in line)
    return [dict(zip(head, row, strict=True)) for row in rows]


def unfinished(made: Iterable[dict[str, str]]) -> Iterator[str]:
    """Outputs that Snakemake would make again, or whose changes it could not see for want of provenance."""
    for row in made:
        file = row["output_file"]
        if (row["status"], row["plan"]) == ("missing", "no update"):  # what was made of it is there
            yield f"{file} is missing; make it again: snakemake --cores all -- {file}"
        elif row["status"] != "ok" or row["plan"] != "no update":
            what = row["status"] if row["status"] != "ok" else row["plan"]
            yield f"{file} is not up to date ({what}); run snakemake"
        elif row["shellcmd"] == "-":
            yield f"{file} has no provenance; make it again: snakemake --cores all -R {row['rule']}"


def edited(made: Iterable[dict[str, str]]) -> Iterator[str]:
    """Files that were changed after the job that made their folder: Snakemake looks at the folder's stamp alone."""
    for row in made:
        stamp = Path(row["output_file"]) / STAMP
        if stamp.is_file():
            latest = stamp.stat().st_mtime + SLACK
            for file in sorted(stamp.parent.rglob("*")):
                if file.is_file() and file.stat().st_mtime > latest:
                    yield f"{file} is newer than its folder; make it again: snakemake --cores all -R {row['rule']}"


def replaced(repo: Repo, made: Iterable[dict[str, str]]) -> Iterator[str]:
    """Files that have another time than their job left them with, and that dvc.lock does not know either.

    Snakemake sees an edit by what is older than it: of a table that nothing is made of, never.
    """
    from snakemake.persistence.file import FilePersistence

    jobs, outs = FilePersistence(nolock=True), {_path(out): out for out in repo.index.outs}
    for row in made:
        file, job = row["output_file"], jobs._read_record(row["output_file"])
        if job is None or not Path(file).is_file() or abs(Path(file).stat().st_mtime - job.endtime) < SLACK:
            continue
        if file not in outs or outs[file].changed_checksum():  # DVC changes times too, of what it has noted
            yield f"{file} was changed after its job; make it again: snakemake --cores all -R {file}"


def _snakemake(*words: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(f"`snakemake {' '.join(words)}` failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _repo() -> Repo:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo()
    except NotDvcRepoError as error:
        raise InputError(f"{error}; run this where dvc.yaml is") from error


def unknown_outs(repo: Repo, made: Iterable[dict[str, str]]) -> Iterator[str]:
    """Outs of dvc.yaml that this run of Snakemake has nothing to do with, say of a row that was not `selected`."""
    known = {row["output_file"] for row in made}
    for out in repo.index.outs:
        if (path := _path(out)) not in known:
            yield f"{path} is an out in dvc.yaml but not of this workflow; make the rows of both the same"


def strays(repo: Repo) -> Iterator[str]:
    """Files in a folder on which a stage depends that no stage makes and git ignores: a removed run's, say.

    They would enter the folder's checksum, which no clone could have then.
    """
    outs = {_path(out) for out in repo.index.outs}
    takes = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "results"]
    listed = subprocess.run(takes, capture_output=True, text=True, check=False).stdout
    known = {*outs, *listed.splitlines()}
    for folder in sorted({_path(dep) for dep in repo.index.deps if _path(dep).startswith("results/")} - outs):
        for file in sorted(Path(folder).rglob("*")):
            parents = {str(file), *map(str, file.parents)}
            if file.is_file() and not parents & known and not repo.dvcignore.is_ignored_file(str(file.absolute())):
                yield f"{file} belongs to no stage of dvc.yaml and git ignores it; remove it"


def _warn_of_unseen(repo: Repo) -> None:
    """Say which files of the user's no stage depends on: Snakemake sees when they change, DVC doesn't."""
    known = {Path(_path(dep)).absolute() for dep in repo.index.deps}
    if unseen := [path for path in local_files() if Path(path).absolute() not in known]:
        cure = "`python -m monolayer.provenance.stages` writes them into dvc.yaml, after which record again"
        logger.warning("`dvc status` does not look at %s; %s", ", ".join(unseen), cure)


def _path(item: Any) -> str:
    """Where a dependency or an out lies, relative to the working directory."""
    path = Path(item.fs_path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def changed() -> list[str]:
    """Stages whose parameters, dependencies or outs are not what dvc.lock says."""
    with _repo() as repo:
        status: dict[str, list[Any]] = repo.status()
    return [
        f"stage {stage} is not what dvc.lock says ({_reasons(found)}); run dvc repro" for stage, found in status.items()
    ]


def _reasons(found: list[Any]) -> str:
    changed = [part for part in found if isinstance(part, dict)]
    named = [f"{path} {what}" for part in changed for paths in part.values() for path, what in paths.items()]
    return ", ".join(named + [part for part in found if isinstance(part, str)])


def _stop_at(meaning: str, faults: list[str]) -> None:
    if faults:
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(f"{meaning}:\n" + "\n".join(f"  {fault}" for fault in faults[:SHOWN]) + more)
